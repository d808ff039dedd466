"""Measure how fast a model trains and predicts here: `python -m behavesim.benchmark`."""

from typing import TYPE_CHECKING

from behavesim.cli import command

if TYPE_CHECKING:
    from omegaconf import DictConfig


def benchmark(cfg: "DictConfig") -> None:
    """Print the table of a checked configuration, and write it into `cfg.paths.output`."""
    # Heavy libraries load here, after the configuration was found good.
    import lightning

    from behavesim import build, inputs
    from behavesim.benchmarking import measuring, report
    from behavesim.log import quiet_libraries

    quiet_libraries()
    build.check_targets(cfg)
    cfg = measuring.measurable(cfg)
    lightning.seed_everything(cfg.seed, workers=True, verbose=False)
    data = inputs.datamodule(cfg)
    try:
        model, _ = build.model(cfg, data)
        described = report.described(cfg, model)  # before processes share its weights out
        module = build.module(cfg, model, data)
        trainer = measuring.trainer(cfg)
        prediction = measuring.predict(cfg, trainer, module, data)
        training = measuring.train(cfg, trainer, module, data)
        if trainer.is_global_zero:
            facts = report.facts(cfg, trainer, data, model=described)
            report.publish(cfg, {"training": training, "prediction": prediction}, facts)
    finally:
        data.remove_encoded()


main = command("benchmark", benchmark)

if __name__ == "__main__":
    main()

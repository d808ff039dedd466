"""Measure how fast a model trains and predicts here: `python -m behavesim.benchmark`."""

from typing import TYPE_CHECKING

from behavesim.cli import command

if TYPE_CHECKING:
    from omegaconf import DictConfig


def benchmark(cfg: "DictConfig") -> None:
    """Print the table of a checked configuration, and write it into `cfg.paths.output`."""
    # Heavy libraries load here, after the configuration was found good.
    import lightning

    from behavesim import benchmark_report, benchmarking, build, inputs
    from behavesim.log import quiet_libraries

    quiet_libraries()
    build.check_targets(cfg)
    cfg = benchmarking.measurable(cfg)
    lightning.seed_everything(cfg.seed, workers=True, verbose=False)
    data = inputs.datamodule(cfg)
    try:
        model, _ = build.model(cfg, data)
        described = benchmark_report.described(cfg, model)  # before processes share its weights out
        module = build.module(cfg, model, data)
        trainer = benchmarking.trainer(cfg)
        prediction = benchmarking.predict(cfg, trainer, module, data)
        training = benchmarking.train(cfg, trainer, module, data)
        if trainer.is_global_zero:
            facts = benchmark_report.facts(cfg, trainer, data, model=described)
            benchmark_report.publish(cfg, {"training": training, "prediction": prediction}, facts)
    finally:
        data.remove_encoded()


main = command("benchmark", benchmark)

if __name__ == "__main__":
    main()

"""Train a model on tweets, test it and export it: `python -m behavesim.train`."""

from typing import TYPE_CHECKING

from behavesim.cli import command

if TYPE_CHECKING:
    from omegaconf import DictConfig


def train(cfg: "DictConfig") -> float | None:
    """Run the training of a checked configuration; returns `cfg.optimized_metric`, lower is better."""
    # Heavy libraries load here, after the configuration was found good.
    import lightning

    from behavesim import build, inputs, report, results, resume, stages
    from behavesim.log import quiet_libraries
    from behavesim.training.calibration import calibrate

    quiet_libraries()
    build.check_targets(cfg)
    inputs.check_weights(cfg)
    stages.run_stages(cfg)
    trainer = build.trainer(cfg, callbacks=build.callbacks(cfg))
    checkpoint = resume.checkpoint_path(cfg)
    lightning.seed_everything(cfg.seed, workers=True, verbose=False)
    data = inputs.datamodule(cfg)
    model, bins = build.model(cfg, data)
    report.print_plan(cfg, data, model, trainer.world_size)
    if cfg.dry_run:
        data.remove_encoded()
        return None
    module = build.module(cfg, model, data)
    resume.check_fits(checkpoint, module, trainer)
    trainer.logger = logger = build.logger(cfg)
    with results.failure_marked(logger):
        trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
        fitted = results.last_metrics(trainer, module, data)
        results.load_best(trainer, module)
        fitted |= calibrate(trainer, module, data)
        trainer.test(module, data, verbose=False)
        results.export(cfg, data, model, bins)
        scores = results.scores(cfg, data, module)
        objective = results.optimized(cfg, trainer, fitted)
        results.record(cfg, logger, data, module, scores, objective)
    data.remove_encoded()
    report.print_results(cfg, scores)
    return objective


main = command("train", train)

if __name__ == "__main__":
    main()

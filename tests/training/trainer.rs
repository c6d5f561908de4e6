//! The training loop: it learns, stops, is interrupted at any step and goes on bit for bit.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use wgpu_rnn::checkpoint::Checkpoint;
use wgpu_rnn::cpu::CpuDevice;
use wgpu_rnn::train::{
    Clipping, End, EpochReport, Goal, Interrupt, NamedGroup, NonFinite, Observer, OptimizerOptions,
    Progress, ScheduleShape, Standing, Task, Trainer, TrainerOptions, WarmUp,
};
use wgpu_rnn::{Device, Error, Result};

use crate::support::devices;
use crate::task::Means;

/// Asks for the end after so many steps.
#[derive(Debug)]
struct After {
    steps: u64,
    interrupt: Interrupt,
    epochs: usize,
}

impl Observer for After {
    fn step(&mut self, progress: &Progress, _: Option<f64>) {
        if progress.steps() == self.steps {
            self.interrupt.set();
        }
    }

    fn epoch(&mut self, report: &EpochReport<'_>) {
        assert_eq!(report.metrics.len(), 2);
        self.epochs += 1;
    }
}

fn trainer(
    device: &Arc<dyn Device>,
    task: Means,
    options: TrainerOptions,
) -> Result<Trainer<Means>> {
    let model = task.model.clone();
    Trainer::new(device.clone(), &model, task, options)
}

fn options(folder: Option<&Path>, accumulation: u64) -> TrainerOptions {
    TrainerOptions {
        optimizer: OptimizerOptions {
            clipping: Some(Clipping::Norm(1.0)),
            ..OptimizerOptions::adam(0.02)
        },
        schedule: ScheduleShape::Cosine {
            steps: 60,
            minimum: 1e-4,
        },
        warm_up: WarmUp {
            steps: 5,
            first: 0.1,
        },
        epochs: 3,
        accumulation,
        seed: 5,
        patience: 0,
        folder: folder.map(Path::to_owned),
        ..TrainerOptions::default()
    }
}

fn bits(trainer: &Trainer<Means>) -> Vec<u32> {
    let buffer = trainer.parameters();
    let values = trainer.device().read(buffer, 0..buffer.len()).unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

/// Without the time, which is another in each run.
fn timeless(standing: &Standing) -> Standing {
    Standing {
        seconds: 0.0,
        ..standing.clone()
    }
}

/// A log without its last column, the seconds.
fn log(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("training.csv")).unwrap();
    let lines = text.lines();
    lines
        .map(|line| line.rsplit_once(',').unwrap().0.to_owned())
        .collect()
}

#[test]
fn an_interrupted_run_goes_on_bit_for_bit() {
    for (device, accumulation) in devices().iter().flat_map(|d| [(d, 1), (d, 3)]) {
        let [whole, parts] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let new = |folder: &Path| {
            let task = Means::ragged(60, 0.3);
            trainer(device, task, options(Some(folder), accumulation)).unwrap()
        };
        let mut straight = new(whole.path());
        assert_eq!(
            straight.run(&Interrupt::default(), &mut ()),
            Ok(End::Finished)
        );
        let steps = straight.position().step;
        let per_epoch = steps / 3;
        assert!(per_epoch >= 3, "{per_epoch}");
        // In the first epoch, at the end of one, in the last.
        let mut stops = vec![1, per_epoch, per_epoch + 2, steps - 1];
        stops.dedup();
        let mut epochs = 0;
        for (nth, &stop) in stops.iter().enumerate() {
            let mut piece = new(parts.path());
            if nth > 0 {
                piece.resume().unwrap();
            }
            let interrupt = Interrupt::default();
            let mut observer = After {
                steps: stop,
                interrupt: interrupt.clone(),
                epochs: 0,
            };
            assert_eq!(piece.run(&interrupt, &mut observer), Ok(End::Interrupted));
            assert_eq!(piece.position().step, stop);
            epochs += observer.epochs;
        }
        let mut last = new(parts.path());
        last.resume().unwrap();
        assert_eq!(last.run(&Interrupt::default(), &mut ()), Ok(End::Finished));
        assert_eq!(epochs, 2);
        assert_eq!(bits(&last), bits(&straight), "{}", device.name());
        assert_eq!(last.position(), straight.position());
        assert_eq!(timeless(last.standing()), timeless(straight.standing()));
        assert_eq!(last.stopping(), straight.stopping());
        assert_eq!(last.best_parameters(), straight.best_parameters());
        assert_eq!(last.counts(), straight.counts());
        assert_eq!(log(parts.path()), log(whole.path()));
        let load = |folder: &Path, name| Checkpoint::load(&folder.join(name)).unwrap();
        for name in ["best.safetensors", "last.safetensors"] {
            let [own, other] = [&parts, &whole].map(|folder| load(folder.path(), name));
            assert_eq!(own.parameters, other.parameters);
            assert_eq!(own.optimizer, other.optimizer);
            assert_eq!(own.position, other.position);
        }
        // A further run has nothing left to do.
        assert_eq!(last.run(&Interrupt::default(), &mut ()), Ok(End::Finished));
        assert_eq!(last.position().step, steps);
    }
}

#[test]
fn it_learns_and_stops() {
    for device in devices() {
        let long = TrainerOptions {
            epochs: 60,
            patience: 4,
            least_change: 0.002,
            optimizer: OptimizerOptions::adam(0.02),
            schedule: ScheduleShape::Constant,
            warm_up: WarmUp::none(),
            ..options(None, 1)
        };
        let mut trainer = trainer(device, Means::ragged(60, 0.0), long).unwrap();
        assert_eq!(
            trainer.run(&Interrupt::default(), &mut ()),
            Ok(End::Stopped)
        );
        let epochs = &trainer.standing().epochs;
        let best = trainer.stopping().best.unwrap();
        assert!(best < 0.5 * epochs[0].metrics[0], "{epochs:?}");
        let at = trainer.stopping().best_observation as usize;
        assert_eq!(epochs.len(), at + 4);
        assert_eq!(epochs[at - 1].metrics[0], best);
        assert!(trainer.best_parameters().is_some());
        assert_eq!(trainer.last_path(), None);
    }
}

#[test]
fn it_ends_when_it_is_good_enough() {
    let device: Arc<dyn Device> = Arc::new(CpuDevice::with_threads(1).unwrap());
    let run = |target| {
        let options = TrainerOptions {
            target: Some(target),
            ..options(None, 1)
        };
        let mut trainer = trainer(&device, Means::ragged(60, 0.0), options).unwrap();
        let end = trainer.run(&Interrupt::default(), &mut ());
        let errors: Vec<f64> = trainer
            .standing()
            .epochs
            .iter()
            .map(|e| e.metrics[0])
            .collect();
        (end, errors)
    };
    let (end, all) = run(0.0);
    assert_eq!((end, all.len()), (Ok(End::Finished), 3));
    let (end, some) = run(all[1]);
    assert_eq!((end, some.as_slice()), (Ok(End::Reached), &all[..2]));
}

/// Two batches of 8 make the step of one of 16.
#[test]
fn accumulated_batches_make_one_step() {
    for device in devices() {
        let after = |each, accumulation| {
            let task = Means::even(16, each);
            let mut trainer = trainer(device, task, options(None, accumulation)).unwrap();
            trainer.run(&Interrupt::default(), &mut ()).unwrap();
            assert_eq!(
                trainer.position().step,
                if accumulation == 2 {
                    3
                } else {
                    48 / each as u64
                }
            );
            let buffer = trainer.parameters();
            trainer.device().read(buffer, 0..buffer.len()).unwrap()
        };
        let (whole, parts) = (after(16, 1), after(8, 2));
        for (whole, part) in whole.iter().zip(parts) {
            // Adam's steps are of the rate's size whatever the gradient's: a share of three of them.
            assert!((whole - part).abs() < 3.0 * 0.02 * 1e-2, "{whole} {part}");
        }
        // Alone, the first half leads elsewhere.
        assert_ne!(whole, after(8, 1));
    }
}

#[test]
fn equal_shapes_share_a_program() {
    let device: Arc<dyn Device> = Arc::new(CpuDevice::with_threads(1).unwrap());
    let pushed = |task| {
        let mut trainer = trainer(&device, task, options(None, 1)).unwrap();
        trainer.run(&Interrupt::default(), &mut ()).unwrap();
        trainer.task().pushed.load(Ordering::Relaxed)
    };
    assert_eq!(pushed(Means::even(32, 8)), 1);
    assert!(pushed(Means::ragged(60, 0.0)) > 3);
}

#[test]
fn a_checkpoint_of_a_step_within_an_epoch() {
    let device: Arc<dyn Device> = Arc::new(CpuDevice::with_threads(1).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let every = TrainerOptions {
        save_every: Some(2),
        ..options(Some(folder.path()), 1)
    };
    // The observer runs before the third step, when the second has just been saved.
    struct Look<'a>(&'a Path, u64);
    impl Observer for Look<'_> {
        fn step(&mut self, progress: &Progress, _: Option<f64>) {
            if progress.steps() == 3 {
                self.1 = Checkpoint::load(self.0).unwrap().position.step;
            }
        }
    }
    let path = folder.path().join("last.safetensors");
    let mut look = Look(&path, 0);
    let mut trainer = trainer(&device, Means::ragged(60, 0.0), every).unwrap();
    trainer.run(&Interrupt::default(), &mut look).unwrap();
    assert_eq!(look.1, 2);
    let files = ["best.md", "last.md", "training.jsonl", "training.csv"];
    assert!(files.iter().all(|name| folder.path().join(name).exists()));
    #[cfg(feature = "report")]
    {
        let path = folder.path().join("learning_curve.svg");
        let text = std::fs::read_to_string(path).unwrap();
        assert!(
            ["training loss", "RMSE", "bias"]
                .iter()
                .all(|name| text.contains(name))
        );
    }
}

#[test]
fn gradients_that_are_not_finite() {
    let device: Arc<dyn Device> = Arc::new(CpuDevice::with_threads(1).unwrap());
    let run = |non_finite| {
        let options = TrainerOptions {
            optimizer: OptimizerOptions {
                non_finite,
                ..OptimizerOptions::adam(0.02)
            },
            ..options(None, 1)
        };
        let task = Means::ragged(60, 0.0).spoiled();
        let mut trainer = trainer(&device, task, options).unwrap();
        let end = trainer.run(&Interrupt::default(), &mut ());
        (end, trainer.counts().unwrap(), trainer)
    };
    let (end, counts, trainer) = run(NonFinite::Skip);
    assert_eq!((end, counts.left_out), (Ok(End::Finished), 3));
    let epochs = &trainer.standing().epochs;
    assert!(epochs.iter().all(|epoch| epoch.loss.is_none()));
    let (end, counts, trainer) = run(NonFinite::Halt);
    assert!(matches!(end, Err(Error::NonFinite { .. })), "{end:?}");
    assert!(counts.halted && trainer.standing().epochs.is_empty());
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let device: Arc<dyn Device> = Arc::new(CpuDevice::with_threads(1).unwrap());
    let refused = |task, options: TrainerOptions, text: &str| {
        let error = trainer(&device, task, options).expect_err(text);
        assert_eq!(error.to_string(), text);
    };
    let base = options(None, 1);
    let task = || Means::ragged(20, 0.0);
    let none = TrainerOptions {
        epochs: 0,
        ..base.clone()
    };
    refused(task(), none, "option `epochs`: must be at least 1, is 0");
    let none = TrainerOptions {
        accumulation: 0,
        ..base.clone()
    };
    refused(
        task(),
        none,
        "option `accumulation`: must be at least 1, is 0",
    );
    let negative = TrainerOptions {
        least_change: -1.0,
        ..base.clone()
    };
    let text = "option `least_change`: must be a finite number, at least 0, is -1";
    refused(task(), negative, text);
    let nan = TrainerOptions {
        target: Some(f64::NAN),
        ..base.clone()
    };
    refused(task(), nan, "option `target`: must be a number, is NaN");
    let group = TrainerOptions {
        groups: vec![NamedGroup::new(&["head.*", "tail.*"])],
        ..base.clone()
    };
    let error = trainer(&device, task(), group).unwrap_err();
    assert!(error.to_string().contains("`tail.*`"), "{error}");
    let others = Means::ragged(20, 0.0).model.initial(1).unwrap();
    let mut begun = trainer(&device, task(), base.clone()).unwrap();
    begun.set_parameters(&others).unwrap();
    begun.run(&Interrupt::default(), &mut ()).unwrap();
    assert!(matches!(
        begun.set_parameters(&others),
        Err(Error::State(_))
    ));
    let empty = || Means::even(0, 4);
    let mut trainer = trainer(&device, empty(), base).unwrap();
    let error = trainer.run(&Interrupt::default(), &mut ()).unwrap_err();
    assert!(error.to_string().contains("batches of epoch 0"), "{error}");
}

#[test]
fn what_cannot_be_resumed_is_refused() {
    let device: Arc<dyn Device> = Arc::new(CpuDevice::with_threads(1).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let own = || options(Some(folder.path()), 1);
    let new = |task, options| trainer(&device, task, options).unwrap();
    let refused = |mut trainer: Trainer<Means>, text: &str| {
        let before = bits(&trainer);
        let error = trainer.resume().expect_err(text).to_string();
        assert!(error.contains(text), "{error}");
        assert_eq!(bits(&trainer), before);
        assert_eq!(trainer.position().step, 0);
    };
    refused(
        new(Means::ragged(60, 0.0), options(None, 1)),
        "without a folder",
    );
    refused(new(Means::ragged(60, 0.0), own()), "last.safetensors");
    new(Means::ragged(60, 0.0), own())
        .run(&Interrupt::default(), &mut ())
        .unwrap();
    refused(new(Means::ragged(60, 0.5), own()), "dropout");
    let other = |options| new(Means::ragged(60, 0.0), options);
    let text = "training.accumulation: expected 2, got 1";
    refused(other(options(Some(folder.path()), 2)), text);
    let seed = TrainerOptions { seed: 6, ..own() };
    refused(other(seed), "training.seed: expected 6, got 5");
    let goal = TrainerOptions {
        goal: Goal::Maximize,
        ..own()
    };
    refused(other(goal), "training.goal");
    // More epochs and another patience are no other training.
    let longer = TrainerOptions {
        epochs: 4,
        patience: 9,
        ..own()
    };
    let mut longer = other(longer);
    longer.resume().unwrap();
    assert_eq!(
        longer.run(&Interrupt::default(), &mut ()),
        Ok(End::Finished)
    );
    assert_eq!(longer.standing().epochs.len(), 4);
    // Data that end before the place where training was interrupted.
    let interrupt = Interrupt::default();
    let mut first = other(own());
    let mut observer = After {
        steps: first.task().batches(0).unwrap().len() as u64 - 1,
        interrupt: interrupt.clone(),
        epochs: 0,
    };
    assert_eq!(first.run(&interrupt, &mut observer), Ok(End::Interrupted));
    let mut fewer = new(Means::ragged(20, 0.0), own());
    fewer.resume().unwrap();
    let error = fewer
        .run(&Interrupt::default(), &mut ())
        .unwrap_err()
        .to_string();
    assert!(error.contains("batches of epoch"), "{error}");
    // A checkpoint that was cut off.
    let path = folder.path().join("last.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 7]).unwrap();
    refused(other(own()), "last.safetensors");
}

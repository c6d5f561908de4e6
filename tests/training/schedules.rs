//! Schedules against PyTorch's.

use std::collections::HashMap;

use wgpu_rnn::Error;
use wgpu_rnn::train::{Goal, Schedule, ScheduleShape, WarmUp};

const RATE: f64 = 0.05;
const STEPS: usize = 40;
const COLD: WarmUp = WarmUp {
    steps: 0,
    first: 1.0,
};

/// As `scripts/schedule_goldens.py` has it.
fn metric(step: usize) -> f64 {
    let values = [4.0, 3.0, 3.0, 2.9999, 3.5, 2.5, 2.6, 2.7, 2.8, 2.9];
    values[step % 10] / (1 + step / 20) as f64
}

/// The shapes of the script.
fn shapes() -> Vec<(&'static str, ScheduleShape, WarmUp)> {
    let warm = |steps, first| WarmUp { steps, first };
    let step = ScheduleShape::Step {
        every: 7,
        factor: 0.5,
    };
    let exponential = ScheduleShape::Exponential { factor: 0.9 };
    let cosine = |steps| ScheduleShape::Cosine {
        steps,
        minimum: 0.001,
    };
    let cycle = ScheduleShape::one_cycle(STEPS as u64 + 1);
    let other_cycle = ScheduleShape::OneCycle {
        steps: STEPS as u64 + 1,
        rising: 0.15,
        first_divisor: 5.0,
        last_divisor: 100.0,
        momentum: None,
    };
    let plateau = |goal, factor, patience, threshold, cooldown, minimum| ScheduleShape::Plateau {
        goal,
        factor,
        patience,
        threshold,
        cooldown,
        minimum,
    };
    vec![
        ("step", step, COLD),
        ("exponential", exponential, COLD),
        ("cosine", cosine(39), COLD),
        ("one_cycle", cycle, COLD),
        ("one_cycle_momentum", cycle, COLD),
        ("one_cycle_other", other_cycle, COLD),
        ("step_warm", step, warm(5, 0.2)),
        ("exponential_warm", exponential, warm(8, 0.01)),
        ("cosine_warm", cosine(31), warm(9, 0.1)),
        ("constant_warm", ScheduleShape::Constant, warm(10, 0.25)),
        (
            "plateau_minimize",
            plateau(Goal::Minimize, 0.5, 2, 1e-4, 0, 0.0),
            COLD,
        ),
        (
            "plateau_cooldown",
            plateau(Goal::Minimize, 0.5, 1, 1e-4, 3, 0.004),
            COLD,
        ),
        (
            "plateau_maximize",
            plateau(Goal::Maximize, 0.3, 0, 0.1, 0, 0.0),
            COLD,
        ),
    ]
}

fn goldens() -> HashMap<String, Vec<f64>> {
    serde_json::from_str(include_str!("schedules.json")).unwrap()
}

#[test]
fn rates_are_those_of_pytorch() {
    let goldens = goldens();
    assert_eq!(goldens.len(), shapes().len());
    for (name, shape, warm_up) in shapes() {
        let mut schedule = Schedule::new(RATE, shape, warm_up).unwrap();
        for (step, expected) in goldens[name].iter().enumerate() {
            let got = match name {
                "one_cycle_momentum" => schedule.momentum().unwrap(),
                _ => schedule.learning_rate(),
            };
            // PyTorch finds most rates from the one before: some roundings a step.
            let error = (got - expected).abs() / expected;
            assert!(
                error < 16.0 * (step + 1) as f64 * f64::EPSILON,
                "{name}, step {step}: {got} for {expected}"
            );
            schedule.step();
            schedule.observe(metric(step)).unwrap();
        }
    }
}

#[test]
fn a_saved_schedule_goes_on() {
    for (name, shape, warm_up) in shapes() {
        for stop in [0, 3, 17] {
            let mut schedule = Schedule::new(RATE, shape, warm_up).unwrap();
            for step in 0..stop {
                schedule.step();
                schedule.observe(metric(step)).unwrap();
            }
            let json = serde_json::to_string(&schedule).unwrap();
            let mut other: Schedule = serde_json::from_str(&json).unwrap();
            assert_eq!(other, schedule);
            for step in stop..STEPS {
                assert_eq!(other.learning_rate(), schedule.learning_rate(), "{name}");
                for schedule in [&mut schedule, &mut other] {
                    schedule.step();
                    schedule.observe(metric(step)).unwrap();
                }
            }
        }
    }
}

#[test]
fn all_shapes_rise_first_and_end_where_they_shall() {
    let warm_up = WarmUp {
        steps: 4,
        first: 0.5,
    };
    for (name, shape, _) in shapes() {
        let mut schedule = Schedule::new(RATE, shape, warm_up).unwrap();
        let mut cold = Schedule::new(RATE, shape, COLD).unwrap();
        for share in [0.5, 0.625, 0.75, 0.875] {
            let expected = share * cold.learning_rate();
            assert!(
                (schedule.learning_rate() - expected).abs() < 1e-15,
                "{name}"
            );
            schedule.step();
        }
        for _ in 0..STEPS + 5 {
            assert_eq!(schedule.learning_rate(), cold.learning_rate(), "{name}");
            schedule.step();
            cold.step();
        }
    }
    let mut cosine = Schedule::new(RATE, shapes()[2].1, COLD).unwrap();
    for _ in 0..100 {
        cosine.step();
    }
    assert_eq!(cosine.learning_rate(), 0.001);
}

#[test]
fn numbers_out_of_range_are_refused() {
    let plateau = |factor| ScheduleShape::Plateau {
        goal: Goal::Minimize,
        factor,
        patience: 0,
        threshold: 0.0,
        cooldown: 0,
        minimum: 0.0,
    };
    let bad = [
        ScheduleShape::Step {
            every: 0,
            factor: 0.5,
        },
        ScheduleShape::Exponential { factor: 0.0 },
        ScheduleShape::Cosine {
            steps: 0,
            minimum: 0.0,
        },
        ScheduleShape::Cosine {
            steps: 1,
            minimum: f64::NAN,
        },
        ScheduleShape::one_cycle(1),
        plateau(1.5),
        plateau(f64::NAN),
    ];
    for shape in bad {
        let refused = Schedule::new(RATE, shape, COLD);
        assert!(matches!(refused, Err(Error::Option { .. })), "{shape:?}");
    }
    assert!(Schedule::new(-1.0, ScheduleShape::Constant, COLD).is_err());
    let mut good = Schedule::new(RATE, plateau(0.5), COLD).unwrap();
    assert!(good.observe(f64::NAN).is_err());
    // What was saved is checked like what is made.
    let json = serde_json::to_string(&good).unwrap();
    let broken = json.replace("0.05", "-0.05");
    assert!(serde_json::from_str::<Schedule>(&broken).is_err());
}

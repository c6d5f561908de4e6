//! Gradient-boosted trees on aggregates.
use perpetual::objective::Objective;
use perpetual::{Matrix, PerpetualBooster};
use crate::generator::Ticket;
use crate::rule::GAP_HOURS;
use crate::event::Event;

pub(crate) fn features(ticket: &Ticket) -> Vec<f64> {
    let steps = &ticket.steps;
    let last = steps.last().unwrap();
    let n = steps.len();
    let mut f = vec![n as f64, last.hours as f64, last.priority as f64];
    f.push(steps.iter().map(|s| s.priority as f64).sum::<f64>() / n as f64);
    f.push(steps.iter().map(|s| s.priority as f64).fold(0.0, f64::max));
    f.push(last.hours as f64 / n as f64);
    f.push(steps.iter().map(|s| s.gap as f64).fold(0.0, f64::max));
    f.push(steps.iter().filter(|s| s.gap as f64 >= GAP_HOURS).count() as f64);
    f.push(last.gap as f64);
    for e in Event::ALL {
        let count = steps.iter().filter(|s| s.event == e).count();
        f.push(count as f64);
        f.push(count as f64 / n as f64);
        match steps.iter().rposition(|s| s.event == e) {
            Some(at) => { f.push((n - 1 - at) as f64); f.push((last.hours - steps[at].hours) as f64); }
            None => { f.push(f64::NAN); f.push(f64::NAN) }
        }
    }
    // the last event and the two before
    for back in 1..=3 {
        for e in Event::ALL {
            f.push(if n >= back && steps[n - back].event == e { 1.0 } else { 0.0 });
        }
    }
    f
}

pub(crate) fn fit_predict(train: &[Ticket], test: &[Ticket], budget: f32) -> Vec<f64> {
    let columns = |tickets: &[Ticket]| {
        let rows: Vec<Vec<f64>> = tickets.iter().map(features).collect();
        let width = rows[0].len();
        let mut data = vec![0.0; width * rows.len()];
        for (r, row) in rows.iter().enumerate() { for (c, v) in row.iter().enumerate() { data[c * rows.len() + r] = *v; } }
        (data, width)
    };
    let (data, width) = columns(train);
    let y: Vec<f64> = train.iter().map(|t| f64::from(u8::from(t.escalated))).collect();
    let mut model = PerpetualBooster::default().set_objective(Objective::LogLoss).set_budget(budget);
    model.fit(&Matrix::new(&data, train.len(), width), &y, None, None).unwrap();
    let (data, width) = columns(test);
    eprintln!("trees {}", model.get_prediction_trees().len());
    model.predict(&Matrix::new(&data, test.len(), width), true)
}

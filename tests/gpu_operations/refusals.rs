//! Programs that do not fit their buffers are refused when they are loaded: shaders run without checks of their own.

use wgpu_rnn::Error;
use wgpu_rnn::ops::{Recurrence, Role};

use crate::recurrences::{are_refused_by, cells, load, recurrence};
use crate::support::devices;

#[test]
fn recurrences_that_do_not_fit() {
    are_refused_by(&devices()[0]);
}

/// What the kernels read from the table, and buffers that they take for one.
#[test]
fn recurrences_with_other_tables_or_buffers() {
    let device = &devices()[0];
    for config in cells() {
        let (mut program, right) = recurrence(&config);
        // Rows of a batch that gets larger.
        let table = program.table(&[0, 2, 3, 5]);
        let other = program.buffer("other", 1000, Role::Input);
        let refused = |change: &dyn Fn(&mut Recurrence)| {
            let mut wrong = right.clone();
            change(&mut wrong);
            let error = load(device, &program, wrong).unwrap_err();
            assert!(matches!(error, Error::Shape { .. }), "{error}");
        };
        refused(&|op| op.offsets_table = table);
        refused(&|op| op.offsets_table = table.at(2));
        refused(&|op| op.order_table = table);
        refused(&|op| op.states.recurrent_input = other.into());
        if right.states.c.is_some() {
            refused(&|op| op.states.c = Some(other.into()));
        }
        if right.states.second.is_some() {
            refused(&|op| op.states.second = Some(other.into()));
        }
    }
}

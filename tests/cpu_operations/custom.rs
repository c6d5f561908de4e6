//! Operations of the user's own.

use wgpu_rnn::cpu::CpuDevice;

use super::custom_cases as cases;

#[test]
fn kernels_of_the_users_own() {
    for threads in [1, 3] {
        cases::check(&CpuDevice::with_threads(threads).unwrap());
    }
}

#[test]
fn refusals() {
    cases::check_refused(&CpuDevice::with_threads(1).unwrap());
}

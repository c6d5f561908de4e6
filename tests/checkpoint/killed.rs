//! A process that is killed while it writes checkpoints.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wgpu_rnn::checkpoint::Checkpoint;

use crate::example::full;

/// Set in the process that writes.
const WRITER: &str = "WGPU_RNN_TEST_CHECKPOINT_WRITER";
/// Enough that writing takes a while.
const ELEMENTS: usize = 1 << 18;
/// So many kills have to hit a write; most hit the work between writes.
const CUT_OFF: u32 = 12;
const MOST_ROUNDS: u32 = 1_000;

/// Each element of the `step`-th checkpoint says which one it is of.
fn numbered(step: u64) -> Checkpoint {
    let mut checkpoint = full();
    checkpoint.position.step = step;
    let values = vec![step as f32; ELEMENTS];
    checkpoint
        .parameters
        .insert("large", vec![ELEMENTS], values)
        .unwrap();
    checkpoint
}

/// Goes on from the checkpoint that is there, without end.
fn write_for_ever(path: &Path) -> ! {
    let mut step = Checkpoint::load(path).unwrap().position.step;
    loop {
        step += 1;
        numbered(step).save(path).unwrap();
    }
}

/// Whether the write of a checkpoint was cut off: its temporary file is left.
fn remove_remains(folder: &Path) -> bool {
    let mut any = false;
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name.ends_with(".tmp") {
            std::fs::remove_file(entry.path()).unwrap();
            any |= name.starts_with(".last.safetensors.");
        }
    }
    any
}

#[test]
fn leaves_a_whole_checkpoint() {
    if let Some(path) = std::env::var_os(WRITER) {
        write_for_ever(Path::new(&path));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("last.safetensors");
    numbered(1).save(&path).unwrap();
    let (mut step, mut cut_off) = (1, 0);
    let mut round = 0;
    while cut_off < CUT_OFF {
        assert!(
            round < MOST_ROUNDS,
            "{cut_off} of {round} kills cut off a write"
        );
        round += 1;
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "killed::leaves_a_whole_checkpoint",
                "--nocapture",
            ])
            .env(WRITER, &path)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // It has begun to write; then at another moment in each round.
        let began = Instant::now();
        let changed = |path: &Path| std::fs::metadata(path).unwrap().modified().unwrap();
        let before = changed(&path);
        while changed(&path) == before {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "nothing is written"
            );
            assert_eq!(
                writer.try_wait().unwrap(),
                None,
                "the writer ended by itself"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(u64::from(round) * 379 % 15_000));
        // On Unix this is SIGKILL: no handler runs, nothing is cleaned up.
        writer.kill().unwrap();
        writer.wait().unwrap();
        cut_off += u32::from(remove_remains(folder.path()));

        let read = Checkpoint::load(&path).unwrap();
        assert!(
            read.position.step > step,
            "{} after {step}",
            read.position.step
        );
        step = read.position.step;
        assert!(read == numbered(step), "checkpoint {step} is a mixture");
    }
}

//! A process that is killed while it writes checkpoints.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use wgpu_rnn::checkpoint::Checkpoint;

use crate::example::full;

/// Set in the process that writes.
const WRITER: &str = "WGPU_RNN_TEST_CHECKPOINT_WRITER";
/// Enough that writing takes a while.
const ELEMENTS: usize = 1 << 18;
/// So many kills have to hit a write; others hit the work between writes.
const CUT_OFF: u32 = 8;
const MOST_ROUNDS: u32 = 1_000;
const PATIENCE: Duration = Duration::from_secs(120);

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

/// Temporary files of the checkpoint that is being written, or of one whose write was cut off.
fn unfinished(folder: &Path) -> Vec<PathBuf> {
    let is_temporary = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with(".last.safetensors.") && name.ends_with(".tmp")
    };
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(is_temporary).collect()
}

/// Waits for something that `writer` does.
fn wait_for(writer: &mut Child, what: impl Fn() -> bool) {
    let began = Instant::now();
    while !what() {
        assert!(began.elapsed() < PATIENCE, "nothing is written");
        assert_eq!(
            writer.try_wait().unwrap(),
            None,
            "the writer ended by itself"
        );
        std::thread::sleep(Duration::from_micros(50));
    }
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
        // It has replaced the checkpoint at least once; then at another moment in each round, every other time within a
        // write.
        let changed = |path: &Path| std::fs::metadata(path).unwrap().modified().unwrap();
        let before = changed(&path);
        wait_for(&mut writer, || changed(&path) != before);
        if round % 2 == 0 {
            wait_for(&mut writer, || !unfinished(folder.path()).is_empty());
        }
        std::thread::sleep(Duration::from_micros(u64::from(round) * 379 % 3_000));
        // On Unix this is SIGKILL: no handler runs, nothing is cleaned up.
        writer.kill().unwrap();
        writer.wait().unwrap();
        for path in unfinished(folder.path()) {
            std::fs::remove_file(path).unwrap();
            cut_off += 1;
        }

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

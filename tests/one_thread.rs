//! A CPU device of one thread works on the thread that calls, and on no other. In a process of its own: rayon's global pool, once
//! it is there, stays.

use std::sync::Arc;

use wgpu_rnn::cpu::CpuDevice;
use wgpu_rnn::rnn::Rnn;
use wgpu_rnn::{
    Direction, Gradients, LayerNormKind, Mode, Output, OutputGradient, PackedBatch, Packing,
    Parameters, RnnConfig, RnnConfigBuilder,
};

/// Output and gradients of networks large enough for their work to be split: products in halves, tiles, rows, directions.
fn step(builder: &RnnConfigBuilder, device: CpuDevice) -> (Output, Gradients) {
    let config = builder
        .clone()
        .direction(Direction::BidirectionalConcat)
        .build()
        .unwrap();
    let weights = Parameters::uniform(&config, 5).unwrap();
    let packing = Arc::new(Packing::new(&[40; 64]).unwrap());
    let numbers = |len: usize| -> Vec<f32> { (0..len).map(|i| (i as f32 * 0.7).sin()).collect() };
    let x = numbers(packing.tokens() * config.input_size());
    let batch = PackedBatch::new(packing, config.input_size(), x).unwrap();
    let mut rnn = Rnn::new(Arc::new(device), config, &weights).unwrap();
    let output = rnn.forward(&batch, None, Mode::Training).unwrap();
    let loss = OutputGradient {
        y: Some(numbers(output.y.len())),
        h: None,
        c: None,
    };
    let gradients = rnn.backward(&loss).unwrap();
    (output, gradients)
}

#[test]
fn one_thread_asks_no_pool() {
    let networks = [
        RnnConfig::lstm(48, 64),
        RnnConfig::gru(48, 64),
        RnnConfig::elman(48, 64),
        RnnConfig::lstm(48, 64).layer_norm(LayerNormKind::PerGate, 1e-3),
    ];
    let alone: Vec<_> = (networks.iter())
        .map(|network| step(network, CpuDevice::with_threads(1).unwrap()))
        .collect();
    // It can be built only as long as nobody has asked for it.
    (rayon::ThreadPoolBuilder::new().num_threads(3))
        .build_global()
        .expect("a device of one thread asked for the global pool");
    for (network, alone) in networks.iter().zip(&alone) {
        assert!(step(network, CpuDevice::new().unwrap()) == *alone);
        // Called from a pool it keeps to the calling thread as well, and gives the same.
        let within = rayon::scope(|_| step(network, CpuDevice::with_threads(1).unwrap()));
        assert!(within == *alone);
    }
    // So the test above would have found a device that asks.
    let pool = rayon::ThreadPoolBuilder::new().build_global();
    assert!(pool.is_err());
}

use std::sync::Arc;
use std::time::Instant;
use crate::generator::{self, Ticket};
use rand::{SeedableRng, RngExt, seq::SliceRandom};
use wgpu_rnn::nn::{Linear, linear_parameters};
use wgpu_rnn::ops::*;
use wgpu_rnn::rnn::{GradientMode, Network, NetworkOptions};
use wgpu_rnn::train::*;
use wgpu_rnn::*;

pub(crate) fn auc(score: &[f64], label: &[bool]) -> f64 {
    let mut o: Vec<usize> = (0..score.len()).collect();
    o.sort_by(|&a, &b| score[a].total_cmp(&score[b]));
    let (mut sum, mut i) = (0.0, 0);
    while i < o.len() {
        let mut j = i; while j < o.len() && score[o[j]] == score[o[i]] { j += 1; }
        let rank = (i + j + 1) as f64 / 2.0;
        sum += rank * o[i..j].iter().filter(|&&k| label[k]).count() as f64;
        i = j;
    }
    let p = label.iter().filter(|&&l| l).count() as f64; let n = label.len() as f64 - p;
    (sum - p * (p + 1.0) / 2.0) / (p * n)
}
const IN: usize = 16;
fn encode(t: &Ticket, out: &mut dyn FnMut(usize, [f32; IN])) {
    for (i, s) in t.steps.iter().enumerate() {
        let mut x = [0.0; IN];
        x[s.event as usize] = 1.0;
        x[12] = (1.0 + s.hours).ln() / 3.0;
        x[13] = f32::from(s.priority) / 3.0;
        x[14] = (1.0 + s.gap).ln();
        out(i, x);
    }
}
fn arg(name: &str, default: f64) -> f64 {
    let a: Vec<String> = std::env::args().collect();
    a.iter().position(|x| x == name).map_or(default, |i| a[i + 1].parse().unwrap())
}
struct P { plan: Box<dyn Plan>, x: BufferId, logits: BufferId, d: Option<BufferId>, opt: Option<AdamOptimizer> }
struct M { config: RnnConfig, head: Linear, rnn_len: usize }
impl M {
    fn len(&self) -> usize { self.rnn_len + self.head.parameter_len() }
    fn plan(&self, dev: &dyn Device, packing: &Arc<Packing>, bufs: &[DeviceBuffer; 3], train: bool) -> P {
        let mut p = Program::new();
        let pa = p.buffer("p", self.len(), Role::External);
        let batch = packing.batch();
        let h = self.config.state_size();
        let mut bound = vec![(pa, bufs[0].clone())];
        let grads = train.then(|| (p.buffer("g", self.len(), Role::External), p.buffer("m", 2 * self.len(), Role::External)));
        if let Some((g, m)) = grads { bound.push((g, bufs[1].clone())); bound.push((m, bufs[2].clone())); }
        let options = if train { NetworkOptions { mode: Mode::Training, gradients: Some(GradientMode::Save), input_gradient: false, ..Default::default() } } else { NetworkOptions::default() };
        let net = Network::new(&mut p, &self.config, packing, &options, pa.into(), grads.map(|g| g.0.into())).unwrap();
        net.forward(&mut p).unwrap();
        let state = p.buffer("state", batch * 2 * h, Role::Workspace);
        let copy = |p: &mut Program, section, dir: usize, back: bool, a: Region, b: BufferId| {
            let job = |s, t, ss, ts| CopyJob { source: s, target: t, size: [batch, h], source_strides: [ss, 1], target_strides: [ts, 1] };
            let op = if back { StridedCopies { source: b, target: a.buffer, jobs: vec![job(dir * h, a.offset, 2 * h, h)], accumulate: false } }
            else { StridedCopies { source: a.buffer, target: b, jobs: vec![job(a.offset, dir * h, h, 2 * h)], accumulate: false } };
            p.push(section, op);
        };
        for d in 0..2 { copy(&mut p, Section::Forward, d, false, net.last_hidden(d), state); }
        let logits = p.buffer("logits", batch, Role::Output);
        let head = Region::from(pa).at(self.rnn_len);
        self.head.forward(&mut p, batch, head, (state.into(), logits.into()));
        let (mut d, mut opt) = (None, None);
        if let Some((g, m)) = grads {
            let dl = p.buffer("dl", batch, Role::Input);
            let ds = p.buffer("ds", batch * 2 * h, Role::Workspace);
            self.head.backward_parameters(&mut p, batch, Region::from(g).at(self.rnn_len), (state.into(), dl.into()));
            self.head.backward_input(&mut p, batch, head, (dl.into(), ds.into()));
            for k in 0..2 { copy(&mut p, Section::Backward, k, true, net.last_hidden_gradient(k).unwrap(), ds); }
            net.backward(&mut p).unwrap();
            d = Some(dl);
            opt = Some(AdamOptimizer::push(&mut p, self.len(), pa.into(), g.into(), m.into()));
        }
        P { x: net.x, logits, d, opt, plan: dev.load(p, &bound).unwrap() }
    }
}
fn input(packing: &Packing, batch: &[&Ticket]) -> Vec<f32> {
    let mut x = vec![0.0; packing.tokens() * IN];
    for (b, &i) in packing.order().iter().enumerate() {
        encode(batch[i], &mut |t, v| { let r = packing.row(t, b); x[r * IN..(r + 1) * IN].copy_from_slice(&v) });
    }
    x
}
fn batches(tickets: &[Ticket], budget: usize, rng: &mut rand_chacha::ChaCha8Rng) -> Vec<Vec<usize>> {
    let mut o: Vec<usize> = (0..tickets.len()).collect();
    o.shuffle(rng);
    o.sort_by_key(|&i| { let l = (tickets[i].steps.len() as f64).ln() * 3.0; l as usize });
    let mut out = vec![]; let (mut cur, mut n) = (vec![], 0);
    for i in o { let l = tickets[i].steps.len(); if n + l > budget && !cur.is_empty() { out.push(std::mem::take(&mut cur)); n = 0; } cur.push(i); n += l; }
    out.push(cur); out.shuffle(rng); out
}
pub(crate) fn run() {
    let n = arg("--tickets", 30000.0) as usize;
    let t0 = Instant::now();
    let all = generator::tickets(n, arg("--data-seed", 1.0) as u64);
    println!("generated in {:.2?}", t0.elapsed());
    let cut = |d: f64| all.partition_point(|t| t.day < d);
    let hold = cut(generator::DAYS - 90.0); let val = cut(generator::DAYS - 180.0);
    let (train, valid, test) = (&all[..val], &all[val..hold], &all[hold..]);
    let labels = |t: &[Ticket]| t.iter().map(|t| t.escalated).collect::<Vec<_>>();
    let truth = |t: &[Ticket]| t.iter().map(|t| t.probability).collect::<Vec<_>>();
    let prev = all.iter().map(|t| t.probability).sum::<f64>() / n as f64;
    let mut lens: Vec<usize> = all.iter().map(|t| t.steps.len()).collect(); lens.sort();
    println!("prevalence p {prev:.4} labels {:.4} median {} p95 {} mean {:.1}", all.iter().filter(|t| t.escalated).count() as f64 / n as f64, lens[n/2], lens[n*95/100], lens.iter().sum::<usize>() as f64 / n as f64);
    println!("best AUC all {:.4} val {:.4} test {:.4}; n {} {} {}", auc(&truth(&all), &labels(&all)), auc(&truth(valid), &labels(valid)), auc(&truth(test), &labels(test)), train.len(), valid.len(), test.len());
    if arg("--trees", 1.0) > 0.0 {
        let t0 = Instant::now();
        let p = crate::baseline::fit_predict(train, test, arg("--budget", 1.0) as f32);
        println!("trees AUC {:.4} in {:.1?}", auc(&p, &labels(test)), t0.elapsed());
    }
    if arg("--epochs", 0.0) < 1.0 { return; }
    let dev = Arc::new(cpu::CpuDevice::new().unwrap());
    let hidden = arg("--hidden", 64.0) as usize;
    let config = RnnConfig::gru(IN, hidden).layers(arg("--layers", 2.0) as usize).direction(Direction::BidirectionalConcat).build().unwrap();
    let m = M { head: Linear::new(2 * hidden, 1).unwrap(), rnn_len: ParameterLayout::new(&config).unwrap().len(), config };
    let mut init = Parameters::uniform(&m.config, 3).unwrap().data().to_vec();
    let mut head = linear_parameters(&m.head, 4); if let Some(b) = head.last_mut() { *b = arg("--bias", -3.4) as f32; } init.extend(head);
    let bufs = [dev.buffer("p", m.len()).unwrap(), dev.buffer("g", m.len()).unwrap(), dev.buffer("m", 2 * m.len()).unwrap()];
    dev.write(&bufs[0], 0, &init).unwrap();
    let lr = arg("--lr", 0.003); let epochs = arg("--epochs", 1.0) as usize; let budget = arg("--budget-tokens", 4096.0) as usize; let pw = arg("--pw", 5.0);
    let mut adam = AdamSteps::new(AdamOptions { learning_rate: lr, max_norm: Some(1.0), ..AdamOptions::default() }).unwrap();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(5);
    let per = batches(train, budget, &mut rng).len();
    let total = (per * epochs) as f64; let warm = (per as f64 * 0.5).min(200.0);
    let t0 = Instant::now(); let mut load = 0.0;
    let predict = |set: &[Ticket]| -> Vec<f64> {
        let mut out = vec![0.0; set.len()];
        let mut o: Vec<usize> = (0..set.len()).collect(); o.sort_by_key(|&i| set[i].steps.len());
        for c in o.chunks(64) {
            let b: Vec<&Ticket> = c.iter().map(|&i| &set[i]).collect();
            let pk = Arc::new(Packing::new(&b.iter().map(|t| t.steps.len()).collect::<Vec<_>>()).unwrap());
            let mut p = m.plan(dev.as_ref(), &pk, &bufs, false);
            p.plan.write(p.x, &input(&pk, &b)).unwrap();
            p.plan.run_all(&[Section::Prepare, Section::Forward]).unwrap();
            let mut l = vec![0.0; b.len()]; p.plan.read(p.logits, &mut l).unwrap();
            for (k, &i) in c.iter().enumerate() { out[i] = f64::from(l[k]); }
        }
        out
    };
    let mean_seq = train.len() as f64 / per as f64;
    for epoch in 1..=epochs {
        let (mut loss, mut cnt) = (0.0, 0.0);
        for b in batches(train, budget, &mut rng) {
            let s = adam.step() as f64;
            let f = if s < warm { (s + 1.0) / warm } else { 0.5 * (1.0 + (std::f64::consts::PI * (s - warm) / (total - warm)).cos()) };
            adam.set_learning_rate(lr * f.max(1e-3)).unwrap();
            let b: Vec<&Ticket> = b.iter().map(|&i| &train[i]).collect();
            let pk = Arc::new(Packing::new(&b.iter().map(|t| t.steps.len()).collect::<Vec<_>>()).unwrap());
            let t1 = Instant::now();
            let mut p = m.plan(dev.as_ref(), &pk, &bufs, true);
            load += t1.elapsed().as_secs_f64();
            p.plan.write(p.x, &input(&pk, &b)).unwrap();
            p.plan.run_all(&[Section::Prepare, Section::Forward]).unwrap();
            let mut l = vec![0.0; b.len()]; p.plan.read(p.logits, &mut l).unwrap();
            let mut d = vec![0.0f32; b.len()];
            let norm = if arg("--norm", 0.0) > 0.0 { mean_seq } else { b.len() as f64 };
            for i in 0..b.len() {
                let z = f64::from(l[i]); let s = 1.0 / (1.0 + (-z).exp());
                d[i] = (if b[i].escalated { loss += (-z).exp().ln_1p() * pw; pw * (s - 1.0) } else { loss += z.exp().ln_1p(); s } / norm) as f32;
            }
            cnt += b.len() as f64;
            p.plan.write(p.d.unwrap(), &d).unwrap();
            p.plan.write(p.opt.unwrap().settings, &adam.next_settings()).unwrap();
            p.plan.run_all(&[Section::Backward, Section::Update]).unwrap();
        }
        let v = predict(valid); let te = predict(test);
        let (av, at) = (auc(&v, &labels(valid)), auc(&te, &labels(test)));
        let share = (at - 0.5) / (auc(&truth(test), &labels(test)) - 0.5);
        let sharev = (av - 0.5) / (auc(&truth(valid), &labels(valid)) - 0.5);
        println!("epoch {epoch} loss {:.4} val {av:.4} ({sharev:.3}) test {at:.4} share {share:.4} {:.0?} load {load:.1}", loss / cnt, t0.elapsed());
    }
    let _ = rng.random::<u32>();
}

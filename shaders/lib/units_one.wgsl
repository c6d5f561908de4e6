// The backward's recurrent product for one unit of a thread: many threads, for adapters with many cores.
const UNITS: u32 = 1u;
alias UnitWeights = Products;
alias UnitSums = f32;
fn unit_weights(at: u32, unit: u32, units: u32) -> UnitWeights { return recurrent_products(weight_at(at + unit)); }
fn unit_products(weights: UnitWeights, gradients: Products) -> UnitSums { return contract(weights, gradients); }
fn unit_sum(sums: UnitSums, unit: u32) -> f32 { return sums; }

// The backward's recurrent product for four units of a thread: a gradient that is loaded and broadcast serves them all.
const UNITS: u32 = 4u;
alias UnitWeights = FourProducts;
alias UnitSums = vec4f;
fn unit_weights(at: u32, unit: u32, units: u32) -> UnitWeights {
    let last = units - 1u;
    return four_products(
        recurrent_products(weight_at(at + min(4u * unit, last))),
        recurrent_products(weight_at(at + min(4u * unit + 1u, last))),
        recurrent_products(weight_at(at + min(4u * unit + 2u, last))),
        recurrent_products(weight_at(at + min(4u * unit + 3u, last))),
    );
}
fn unit_products(weights: UnitWeights, gradients: Products) -> UnitSums { return contract_four(weights, gradients); }
fn unit_sum(sums: UnitSums, unit: u32) -> f32 { return sums[unit]; }

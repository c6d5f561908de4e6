// scratch[result] = 1 / (width * sum over rows of weight[r] * class weight[class[r]]), or 0 where that sum is 0: what a loss
// multiplies its elements with. A row whose class is no whole number below `classes` counts for nothing. One workgroup sums the
// rows `row_start .. row_end`; of several dispatches each adds to the sum before, and the last makes the share of it. The
// order is fixed.

struct Params {
    weights_offset: u32,
    expected_offset: u32,
    class_weights_offset: u32,
    classes: u32,
    rows: u32,
    row_start: u32,
    row_end: u32,
    width: f32,
    result: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> weights: array<f32>;
@group(1) @binding(1) var<storage, read> expected: array<f32>;
@group(1) @binding(2) var<storage, read> class_weights: array<f32>;
@group(1) @binding(3) var<storage, read_write> scratch: array<f32>;

override HAS_WEIGHTS: bool = false;
override HAS_CLASSES: bool = false;
override HAS_CLASS_WEIGHTS: bool = false;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) local: u32) {
    var own = 0.0;
    for (var row = params.row_start + local; row < params.row_end; row += 256u) {
        var weight = 1.0;
        if HAS_WEIGHTS {
            weight = weights[params.weights_offset + row];
        }
        if HAS_CLASSES {
            let class_number = whole_below(expected[params.expected_offset + row], params.classes);
            if class_number >= params.classes {
                weight = 0.0;
            } else if HAS_CLASS_WEIGHTS {
                weight *= class_weights[params.class_weights_offset + class_number];
            }
        }
        own += weight;
    }
    var sum = workgroup_sum(own, local);
    if local == 0u {
        if params.row_start > 0u {
            sum += scratch[params.result];
        }
        var result = sum;
        if params.row_end == params.rows {
            result = 0.0;
            if sum > 0.0 {
                result = 1.0 / (params.width * sum);
            }
        }
        scratch[params.result] = result;
    }
}

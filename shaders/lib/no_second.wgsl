// A cell without a second product.
fn second_unit(site: Site, sum: f32) {}
fn second_gradient_unit(site: Site, sum: f32) {}

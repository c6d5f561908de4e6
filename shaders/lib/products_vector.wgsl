// What the vectors of lib/products_*.wgsl share: the weights of four neighbouring units for the same products, and their sums
// with those.
fn contract(a: Products, b: Products) -> f32 { return dot(a, b); }
fn four_products(a: Products, b: Products, c: Products, d: Products) -> FourProducts { return FourProducts(a, b, c, d); }
fn contract_four(a: FourProducts, b: Products) -> vec4f { return b * a; }

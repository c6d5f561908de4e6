// The products of a unit with one gate.
alias Products = f32;
fn recurrent_products(gates: Gates) -> Products { return gates; }
fn recurrent_gates(products: Products) -> Gates { return products; }
fn input_products(gates: Gates) -> Products { return gates; }
fn input_gates(products: Products) -> Gates { return products; }
fn contract(a: Products, b: Products) -> f32 { return a * b; }
// The weights of four neighbouring units for the same products, and their sums with those.
alias FourProducts = vec4f;
fn four_products(a: Products, b: Products, c: Products, d: Products) -> FourProducts { return vec4f(a, b, c, d); }
fn contract_four(a: FourProducts, b: Products) -> vec4f { return a * b; }

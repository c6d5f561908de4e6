// The products of a GRU's unit, reset before the product: r and z. The candidate has a second product; nothing computes the
// input's here.
alias Products = vec2f;
fn recurrent_products(gates: Gates) -> Products { return gates.xy; }
fn recurrent_gates(products: Products) -> Gates { return vec4f(products, 0.0, 0.0); }
fn input_products(gates: Gates) -> Products { return gates.xy; }
fn input_gates(products: Products) -> Gates { return vec4f(products, 0.0, 0.0); }
alias FourProducts = mat4x2f;

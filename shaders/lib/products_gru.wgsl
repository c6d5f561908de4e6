// The products of a GRU's unit, reset after the product: the recurrent matrix has weights in the slots r, z and q, the input's in
// r, z and n.
alias Products = vec3f;
fn recurrent_products(gates: Gates) -> Products { return gates.xyw; }
fn recurrent_gates(products: Products) -> Gates { return vec4f(products.xy, 0.0, products.z); }
fn input_products(gates: Gates) -> Products { return gates.xyz; }
fn input_gates(products: Products) -> Gates { return vec4f(products, 0.0); }
alias FourProducts = mat4x3f;

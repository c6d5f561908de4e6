// The products of an LSTM's unit: one for each gate.
alias Products = vec4f;
fn recurrent_products(gates: Gates) -> Products { return gates; }
fn recurrent_gates(products: Products) -> Gates { return products; }
fn input_products(gates: Gates) -> Products { return gates; }
fn input_gates(products: Products) -> Gates { return products; }
alias FourProducts = mat4x4f;

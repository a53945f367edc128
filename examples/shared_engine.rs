//! One interpreter for channels and for modules of one's own: they share the engine, and nothing else.
//!
//! ```sh
//! cargo run --example shared_engine
//! ```

use tinclaw::wasmi::{Engine, Linker, Module, Store};
use tinclaw::{Host, WasmChannelRuntime, WasmChannelRuntimeConfig};

/// `(module (func (export "number") (result i32) i32.const 42))`
const MODULE: &[u8] = b"\0asm\x01\0\0\0\x01\x05\x01\x60\0\x01\x7f\x03\x02\x01\0\x07\x0a\x01\x06number\0\0\x0a\x06\x01\x04\0\x41\x2a\x0b";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Channels need some settings of the engine; another engine is refused.
    let engine = Engine::new(&WasmChannelRuntime::engine_config());
    let runtime = WasmChannelRuntime::with_engine(engine.clone(), WasmChannelRuntimeConfig::default())?;
    let mut builder = Host::builder().runtime(runtime);
    if let Some(directory) = std::env::args().nth(1) {
        builder = builder.listen(([127, 0, 0, 1], 8080).into()).channels_from(directory);
    }
    let host = builder.start()?;

    let module = Module::new(&engine, MODULE)?;
    let mut store = Store::new(&engine, ());
    store.set_fuel(10_000)?;
    let instance = Linker::<()>::new(&engine).instantiate_and_start(&mut store, &module)?;
    let number = instance.get_typed_func::<(), i32>(&store, "number")?.call(&mut store, ())?;
    println!("the module returns {number}; the host runs {} channels", host.health()?.channels.len());

    host.shutdown();
    Ok(())
}

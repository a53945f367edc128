//! The functions and types of the channel ABI, made from `wit/world.wit`.
#![allow(missing_docs, reason = "generated; wit/world.wit documents them")]

wit_bindgen::generate!({
    path: "wit",
    world: "sandboxed-channel",
    pub_export_macro: true,
    default_bindings_module: "tinclaw_kit::bindings",
});

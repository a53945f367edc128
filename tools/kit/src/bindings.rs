//! The functions and types of the tool ABI, made from `wit/`.
#![allow(missing_docs, reason = "generated; the files in wit/ document them")]

wit_bindgen::generate!({
    path: "wit",
    inline: "
        package tinclaw:kit;
        world tool {
            include near:agent/sandboxed-tool@0.3.0;
            include tinclaw:tools/with-state@0.1.0;
        }
    ",
    world: "tinclaw:kit/tool",
    pub_export_macro: true,
    default_bindings_module: "tinclaw_tool_kit::bindings",
    generate_all,
});

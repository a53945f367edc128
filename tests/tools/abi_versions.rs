//! The fixture tool of every ABI version, as a component and as a plain core module.

use serde_json::json;
use tinclaw::{ToolError, WasmChannelError, WasmChannelRuntime, WasmChannelRuntimeConfig};

use crate::support::{fixtures, hostile_bytes, registry, tool_bytes};

#[test]
fn every_abi_version_loads_and_runs() {
    let tools = registry();
    let failed = tools.load(&fixtures().join("tools")).unwrap();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(tools.tools().len(), 6);
    let versions = [
        ("tool_v1", "near:agent (first)"),
        ("tool_v2", "near:agent (second)"),
        ("tool_v3", "near:agent (third)"),
        ("tool_v4", "near:agent@0.2.0"),
        ("tool_v5", "near:agent@0.3.0"),
        ("tool_plain", "near:agent@0.3.0"),
    ];
    for (name, version) in versions {
        let tool = tools.find(name).unwrap();
        assert_eq!(tool.abi_version().to_string(), version, "{name}");
        assert_eq!(tool.description(), "Does one small thing, for tests.", "{name}");
        assert_eq!(tool.schema()["required"], json!(["do"]), "{name}");
        let echoed = tools.call(name, r#"{"do": "echo", "text": "größer"}"#).unwrap();
        assert_eq!(echoed, "größer", "{name}");
        let error = tools.call(name, r#"{"do": "fail", "text": "no"}"#).unwrap_err();
        assert!(matches!(&error, ToolError::Failed { message, .. } if message == "no"), "{name}: {error}");
        let now: u64 = tools.call(name, r#"{"do": "now"}"#).unwrap().parse().unwrap();
        assert!(now > 1_600_000_000_000, "{name}");
    }
}

#[test]
fn tools_and_channels_are_told_apart() {
    let tools = registry();
    let channel = std::fs::read(fixtures().join("echo.wasm")).unwrap();
    let error = tools.runtime().prepare("echo", &channel, None).unwrap_err().to_string();
    assert!(error.contains("this is no tool: it exports `near:agent/channel@0.3.1`"), "{error}");

    let runtime = WasmChannelRuntime::new(WasmChannelRuntimeConfig::default()).unwrap();
    let error = runtime.prepare("tool", &tool_bytes("tool_v5")).unwrap_err();
    assert!(matches!(error, WasmChannelError::Tool { .. }), "{error}");
    // Both on one engine.
    let tools = tinclaw::WasmToolRuntime::on(&runtime, tinclaw::WasmToolRuntimeConfig::default()).unwrap();
    assert!(tools.prepare("tool", &hostile_bytes("honest"), None).is_ok());
    assert!(runtime.prepare("echo", &channel).is_ok());
}

#[test]
fn each_call_has_a_fresh_instance() {
    let tools = registry();
    // A second response that came of the first call's memory would be another one.
    let bytes = wat::parse_str(
        r#"(module (memory (export "memory") 1)
            (data (i32.const 0x40) "\01\00\00\00\60\00\00\00\01\00\00\00")
            (data (i32.const 0x60) "0{}")
            (data (i32.const 0x70) "\61\00\00\00\02\00\00\00")
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0x200))
            (func (export "near:agent/tool#execute") (param i32 i32 i32 i32 i32) (result i32)
                (i32.store8 (i32.const 0x60) (i32.add (i32.load8_u (i32.const 0x60)) (i32.const 1)))
                (i32.const 0x40))
            (func (export "near:agent/tool#schema") (result i32) (i32.const 0x70))
            (func (export "near:agent/tool#description") (result i32) (i32.const 0x70)))"#,
    )
    .unwrap();
    tools.add(tools.runtime().prepare("counter", &bytes, None).unwrap()).unwrap();
    assert_eq!([tools.call("counter", "{}").unwrap(), tools.call("counter", "").unwrap()], ["1", "1"]);
}

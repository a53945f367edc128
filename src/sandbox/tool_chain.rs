//! Why a file that some tool chain made cannot be run here, and which option of its compiler is the reason.

use wasmparser::{
    BinaryReaderError, FuncValidatorAllocations, Parser, Payload, ValidPayload, Validator, WasmFeatures,
};
use wit_abi::guest::check_nesting;

/// The tool chains whose guests are known to load and run.
pub const KNOWN_TOOL_CHAINS: &str =
    "Rust, C with clang or zig, Zig, and JavaScript through componentize-js are known to work";

/// The features that a guest may not use, what they are called, and how a compiler is told to leave them out.
const UNSUPPORTED: &[(WasmFeatures, &str, &str)] = &[
    (
        WasmFeatures::SIMD.union(WasmFeatures::RELAXED_SIMD),
        "vector instructions (SIMD)",
        "compile without `-C target-feature=+simd128` (Rust) or `-msimd128` (clang, zig)",
    ),
    (
        WasmFeatures::THREADS.union(WasmFeatures::SHARED_EVERYTHING_THREADS),
        "threads (shared memories or atomic instructions)",
        "compile without `-C target-feature=+atomics` (Rust) or `-pthread` and `-matomics` (clang, zig), and for a \
         target without `-threads` in its name",
    ),
    (
        WasmFeatures::EXCEPTIONS.union(WasmFeatures::LEGACY_EXCEPTIONS),
        "exceptions",
        "compile without `-fwasm-exceptions` (clang), or with `-C panic=abort` (Rust)",
    ),
    (WasmFeatures::MEMORY64, "64-bit memories", "compile for wasm32 instead of wasm64"),
    (
        WasmFeatures::GC.union(WasmFeatures::FUNCTION_REFERENCES),
        "garbage-collected types",
        "compile to linear memory; languages that need the garbage collector of the engine cannot be used",
    ),
    (
        WasmFeatures::CM_ASYNC.union(WasmFeatures::CM_ASYNC_STACKFUL).union(WasmFeatures::CM_ASYNC_BUILTINS),
        "asynchronous component functions",
        "generate its bindings without `async` (an option of wit-bindgen, componentize-js and componentize-py): the \
         functions of guests are synchronous",
    ),
];

/// What a file that was refused uses that this host does not run, and what to do; `None` when it is something else.
pub(super) fn advice(bytes: &[u8]) -> Option<String> {
    if let Some(advice) = library_advice(bytes) {
        return Some(advice);
    }
    // A validator reads types by recursion: a file that is nested without end would exhaust the stack.
    check_nesting(bytes).ok()?;
    let used = unsupported_features(bytes);
    if used.is_empty() {
        return None;
    }
    let texts: Vec<String> = used
        .iter()
        .map(|(what, remedy)| format!("the guest uses {what}, which this host does not run: {remedy}"))
        .collect();
    Some(format!("{}; {KNOWN_TOOL_CHAINS}", texts.join("; ")))
}

/// The same of the beginning of a file that is too large to be looked at: a smaller one would not run either.
pub(crate) fn library_advice(bytes: &[u8]) -> Option<String> {
    links_libraries(bytes).then(|| {
        format!(
            "the component links several modules (a program and shared libraries), as componentize-py makes them, and \
             this host runs one module; {KNOWN_TOOL_CHAINS}"
        )
    })
}

/// How much of a file is validated for advice, in bytes of sections and function bodies: it was refused already, perhaps because this
/// takes long. What a compiler was told shows in the first functions.
const ADVICE_BYTES: usize = 128 * 1024;

/// The beginning of the file is valid with every feature, and invalid without these.
fn unsupported_features(bytes: &[u8]) -> Vec<(&'static str, &'static str)> {
    let is_valid = |features| validate_beginning(bytes, features).is_ok();
    let all = UNSUPPORTED.iter().fold(
        WasmFeatures::WASM2
            .union(WasmFeatures::MULTI_MEMORY)
            .union(WasmFeatures::TAIL_CALL)
            .union(WasmFeatures::EXTENDED_CONST)
            .union(WasmFeatures::COMPONENT_MODEL),
        |all, (features, ..)| all.union(*features),
    );
    if !is_valid(all) {
        return Vec::new();
    }
    let is_needed = |features: &WasmFeatures| !is_valid(all.difference(*features));
    let needed = UNSUPPORTED.iter().filter(|(features, ..)| is_needed(features));
    needed.map(|(_, what, remedy)| (*what, *remedy)).collect()
}

/// Validates a file until [`ADVICE_BYTES`] are.
fn validate_beginning(bytes: &[u8], features: WasmFeatures) -> Result<(), BinaryReaderError> {
    let mut validator = Validator::new_with_features(features);
    let (mut left, mut allocations) = (ADVICE_BYTES, FuncValidatorAllocations::default());
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        match left.checked_sub(validated_bytes(&payload)) {
            Some(rest) => left = rest,
            None => return Ok(()),
        }
        if let ValidPayload::Func(function, body) = validator.payload(&payload)? {
            let mut function = function.into_validator(std::mem::take(&mut allocations));
            function.validate(&body)?;
            allocations = function.into_allocations();
        }
    }
    Ok(())
}

/// How many bytes are validated with a payload. What is inside of modules, components and the code section has payloads of its own.
fn validated_bytes(payload: &Payload<'_>) -> usize {
    match payload {
        Payload::CodeSectionEntry(body) => body.range().len(),
        Payload::CodeSectionStart { .. }
        | Payload::ModuleSection { .. }
        | Payload::ComponentSection { .. } => 0,
        other => other.as_section().map_or(0, |(_, range)| range.len()),
    }
}

/// A shared library has a section `dylink.0` (WebAssembly/tool-conventions, DynamicLinking.md).
fn links_libraries(bytes: &[u8]) -> bool {
    let payloads = Parser::new(0).parse_all(bytes).map_while(Result::ok);
    let mut modules = payloads
        .filter(|payload| matches!(payload, Payload::CustomSection(section) if section.name() == "dylink.0"));
    modules.next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsupported_features_are_named_with_the_compiler_option() {
        for (case, text, expected) in [
            ("nothing", "(module (memory 1))", None),
            ("not valid at all", "(module (func (result i32) drop))", None),
            ("simd", "(module (func v128.const i64x2 0 0 drop))", Some(("SIMD", "+simd128"))),
            (
                "relaxed simd",
                "(module (func (param v128) local.get 0 local.get 0 i8x16.relaxed_swizzle local.get 0 i8x16.relaxed_swizzle drop))",
                Some(("SIMD", "+simd128")),
            ),
            ("shared memory", "(module (memory 1 1 shared))", Some(("threads", "+atomics"))),
            (
                "atomics",
                "(module (memory 1) (func i32.const 0 i32.atomic.load drop))",
                Some(("threads", "-pthread")),
            ),
            ("exceptions", "(module (tag))", Some(("exceptions", "-fwasm-exceptions"))),
            ("64 bits", "(module (memory i64 1))", Some(("64-bit", "wasm32"))),
            ("gc", "(module (type (struct)))", Some(("garbage", "linear memory"))),
            ("async", "(component (core func (canon subtask.drop)))", Some(("asynchronous", "`async`"))),
            (
                "libraries",
                "(component (core module (@custom \"dylink.0\" \"\")))",
                Some(("several modules", "componentize-py")),
            ),
        ] {
            let Ok(bytes) = wat::parse_str(text) else { panic!("{case}") };
            let found = advice(&bytes);
            match expected {
                None => assert_eq!(found, None, "{case}"),
                Some((what, remedy)) => {
                    let found = found.unwrap_or_else(|| panic!("{case}: nothing was found"));
                    assert!(found.contains(what) && found.contains(remedy), "{case}: {found}");
                    assert!(found.contains("are known to work"), "{case}: {found}");
                }
            }
        }
    }
    /// A file that was refused because validating it takes long was validated up to seven times more, which took half a minute.
    #[test]
    fn only_the_beginning_of_a_large_file_is_looked_at() {
        let simd = "(func v128.const i64x2 0 0 drop)";
        let padding = |bytes: usize| format!("(func {})", "nop ".repeat(bytes));
        let with_padding = |before: &str, bytes, after: &str| {
            advice(
                &wat::parse_str(format!("(module {before} {} {after})", padding(bytes))).expect("a module"),
            )
        };
        assert!(with_padding("", ADVICE_BYTES - 1_000, simd).is_some_and(|advice| advice.contains("SIMD")));
        assert_eq!(with_padding("", ADVICE_BYTES, simd), None);
        assert!(with_padding(simd, ADVICE_BYTES, "").is_some_and(|advice| advice.contains("SIMD")));
    }
}

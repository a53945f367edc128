//! Layouts, field offsets and flattened signatures of every type and function of every ABI version, proven against
//! `wit-parser` on the `.wit` files.

use std::collections::BTreeSet;
use std::path::Path;

use wit_parser::abi::{AbiVariant, WasmSignature, WasmType};
use wit_parser::{Function, InterfaceId, Resolve, SizeAlign, TypeDefKind, WorldItem};

use super::properties::FakeGuest;
use super::{CoreFuncType, CoreType, Func, Type, lower_to_memory};
use crate::abi_version::{AbiVersion, NamedAbiVersion, World};
use crate::exports::{GuestFunc, GuestInterface};
use crate::guest::tests::DIRECTORIES;
use crate::imports::{HostFunc, HostInterface};
use crate::types::*;

/// A `.wit` file with the sizes that `wit-parser` computes for it.
struct Reference {
    resolve: Resolve,
    sizes: SizeAlign,
    imported: InterfaceId,
    exported: InterfaceId,
}

impl Reference {
    fn of(directory: &str) -> Self {
        let mut resolve = Resolve::default();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("wit").join(directory);
        let (package, _) = resolve.push_dir(path).unwrap();
        let world = &resolve.worlds[resolve.select_world(package, None).unwrap()];
        let interface = |items: &mut dyn Iterator<Item = &WorldItem>| match items.next().unwrap() {
            WorldItem::Interface { id, .. } => *id,
            _ => panic!("a world of interfaces"),
        };
        let imported = interface(&mut world.imports.values());
        // What only adds imports exports nothing.
        let exported = match world.exports.is_empty() {
            true => imported,
            false => interface(&mut world.exports.values()),
        };
        let mut sizes = SizeAlign::default();
        sizes.fill(&resolve);
        Reference { resolve, sizes, imported, exported }
    }

    /// That `ours` is the type `theirs`, down to the last name, with the same layout at every step. Adds the names
    /// of what it meets to `seen`.
    fn prove_type(&self, theirs: &wit_parser::Type, ours: &Type, seen: &mut BTreeSet<String>) {
        assert_eq!(self.sizes.size(theirs).size_wasm32(), ours.size() as usize, "size of {ours}");
        assert_eq!(self.sizes.align(theirs).align_wasm32(), ours.align() as usize, "alignment of {ours}");
        let wit_parser::Type::Id(id) = theirs else {
            let expected = match theirs {
                wit_parser::Type::Bool => Type::Bool,
                wit_parser::Type::U8 => Type::U8,
                wit_parser::Type::U16 => Type::U16,
                wit_parser::Type::U32 => Type::U32,
                wit_parser::Type::U64 => Type::U64,
                wit_parser::Type::String => Type::String,
                other => panic!("{other:?}"),
            };
            assert_eq!(&expected, ours);
            return;
        };
        let definition = &self.resolve.types[*id];
        seen.extend(definition.name.clone());
        match (&definition.kind, ours) {
            (TypeDefKind::Record(record), Type::Record(ours)) => {
                assert_eq!(definition.name.as_deref(), Some(ours.name));
                assert_eq!(record.fields.len(), ours.fields.len(), "fields of {}", ours.name);
                for (field, (name, ty)) in record.fields.iter().zip(ours.fields) {
                    assert_eq!(field.name, *name);
                    self.prove_type(&field.ty, ty, seen);
                }
            }
            (TypeDefKind::Enum(cases), Type::Enum(ours)) => {
                assert_eq!(definition.name.as_deref(), Some(ours.name));
                let names: Vec<&str> = cases.cases.iter().map(|case| case.name.as_str()).collect();
                assert_eq!(names, ours.cases);
            }
            (TypeDefKind::List(theirs), Type::List(ours)) => self.prove_type(theirs, ours, seen),
            (TypeDefKind::Option(some), Type::Option(ours_some)) => {
                let offset = self.sizes.payload_offset(wit_parser::Int::U8, [Some(some), None]);
                assert_eq!(offset.size_wasm32(), ours.payload_offset() as usize, "payload of {ours}");
                self.prove_type(some, ours_some, seen);
            }
            (TypeDefKind::Result(result), Type::Result { ok, err }) => {
                let cases = [result.ok.as_ref(), result.err.as_ref()];
                let offset = self.sizes.payload_offset(wit_parser::Int::U8, cases);
                assert_eq!(offset.size_wasm32(), ours.payload_offset() as usize, "payload of {ours}");
                for (theirs, ours) in cases.into_iter().zip([ok, err]) {
                    assert_eq!(theirs.is_some(), ours.is_some());
                    if let (Some(theirs), Some(ours)) = (theirs, ours) {
                        self.prove_type(theirs, ours, seen);
                    }
                }
            }
            (theirs, ours) => panic!("{theirs:?} is not {ours}"),
        }
    }

    fn prove_func(&self, theirs: &Function, ours: &Func, variant: AbiVariant, seen: &mut BTreeSet<String>) {
        let names: Vec<&str> = theirs.params.iter().map(|(name, _)| name.as_str()).collect();
        let our_names: Vec<&str> = ours.params.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, our_names, "parameters of {}", theirs.name);
        for ((_, theirs), (_, ours)) in theirs.params.iter().zip(ours.params) {
            self.prove_type(theirs, ours, seen);
        }
        assert_eq!(theirs.result.is_some(), ours.result.is_some(), "result of {}", theirs.name);
        if let (Some(theirs), Some(ours)) = (&theirs.result, &ours.result) {
            self.prove_type(theirs, ours, seen);
        }
        let signature = self.resolve.wasm_signature(variant, theirs);
        assert!(!signature.indirect_params, "{} takes its parameters flattened", theirs.name);
        assert_eq!(signature.retptr, ours.returns_by_memory(), "result area of {}", theirs.name);
        let core_type = match variant {
            AbiVariant::GuestImport => ours.import_type(),
            _ => ours.export_type(),
        };
        assert_eq!(core_func_type(&signature), core_type, "core type of {}", theirs.name);
    }

    /// That the interface has the functions `ours`, no more and no fewer, and no type that they do not use.
    fn prove_interface(&self, id: InterfaceId, ours: &[(&str, Func)], variant: AbiVariant) {
        let interface = &self.resolve.interfaces[id];
        let names: BTreeSet<&str> = interface.functions.keys().map(String::as_str).collect();
        assert_eq!(names, ours.iter().map(|(name, _)| *name).collect());
        let mut seen = BTreeSet::new();
        for (name, func) in ours {
            self.prove_func(&interface.functions[*name], func, variant, &mut seen);
        }
        assert_eq!(seen, interface.types.keys().cloned().collect());
    }
}

fn core_func_type(signature: &WasmSignature) -> CoreFuncType {
    let core = |types: &[WasmType]| {
        let core = types.iter().map(|ty| match ty {
            WasmType::I32 | WasmType::Pointer | WasmType::Length => CoreType::I32,
            WasmType::I64 | WasmType::PointerOrI64 => CoreType::I64,
            WasmType::F32 => CoreType::F32,
            WasmType::F64 => CoreType::F64,
        });
        core.collect::<Vec<_>>()
    };
    CoreFuncType::new(core(&signature.params), core(&signature.results))
}

fn host_funcs(
    abi_version: &AbiVersion,
    interface: HostInterface,
    is_there: impl Fn(HostFunc) -> bool,
) -> Vec<(&'static str, Func)> {
    let funcs = HostFunc::ALL.into_iter().filter(|func| func.is_in(interface) && is_there(*func));
    funcs.map(|func| (func.name(), func.func(abi_version))).collect()
}

fn guest_funcs(
    abi_version: &AbiVersion,
    interface: GuestInterface,
    is_there: impl Fn(GuestFunc) -> bool,
) -> Vec<(&'static str, Func)> {
    let funcs = GuestFunc::ALL.into_iter().filter(|func| func.interface() == interface && is_there(*func));
    funcs.map(|func| (func.name(), func.func(abi_version))).collect()
}

#[test]
fn every_function_and_type_of_every_abi_version_is_laid_out_as_wit_parser_says() {
    for (directory, named) in DIRECTORIES {
        let (reference, abi_version) = (Reference::of(directory), named.abi_version());
        let (imported, exported) = match named.world() {
            World::Channel => (HostInterface::ChannelHost, GuestInterface::Channel),
            World::Tool => (HostInterface::ToolHost, GuestInterface::Tool),
        };
        let imports = host_funcs(&abi_version, imported, |func| named.imports(func));
        reference.prove_interface(reference.imported, &imports, AbiVariant::GuestImport);
        let exports = guest_funcs(&abi_version, exported, |func| named.exports(func));
        reference.prove_interface(reference.exported, &exports, AbiVariant::GuestExport);
    }
}

#[test]
fn the_timers_and_the_websocket_are_laid_out_as_wit_parser_says() {
    let abi_version = NamedAbiVersion::V0_3_1.abi_version();
    for (package, imported, exported) in [
        ("tinclaw-timers", HostInterface::Timers, GuestInterface::TimerHandler),
        ("tinclaw-socket", HostInterface::Socket, GuestInterface::SocketHandler),
    ] {
        let reference = Reference::of(package);
        let imports = host_funcs(&abi_version, imported, |_| true);
        reference.prove_interface(reference.imported, &imports, AbiVariant::GuestImport);
        let exports = guest_funcs(&abi_version, exported, |_| true);
        reference.prove_interface(reference.exported, &exports, AbiVariant::GuestExport);
    }
}

#[test]
fn the_files_of_a_tool_are_laid_out_as_wit_parser_says() {
    let reference = Reference::of("tinclaw-tools");
    let abi_version = NamedAbiVersion::ToolV0_3_0.abi_version();
    let imports = host_funcs(&abi_version, HostInterface::ToolState, |_| true);
    reference.prove_interface(reference.imported, &imports, AbiVariant::GuestImport);
}

#[test]
fn the_callbacks_that_return_a_pointer_are_those_with_a_result_in_memory() {
    let abi_version = NamedAbiVersion::V0_3_1.abi_version();
    for func in GuestFunc::ALL {
        assert_eq!(func.returns_pointer(), func.func(&abi_version).returns_by_memory(), "{func}");
    }
}

/// Reads values out of a memory at the offsets that `wit-parser` computes, and writes them as text.
struct Decoder<'a> {
    reference: &'a Reference,
    memory: &'a [u8],
}

impl Decoder<'_> {
    fn int(&self, at: usize, bytes: usize) -> u64 {
        self.memory[at..at + bytes].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    fn text(&self, ty: &wit_parser::Type, at: usize) -> String {
        match ty {
            wit_parser::Type::Bool => (self.int(at, 1) == 1).to_string(),
            wit_parser::Type::U8 => self.int(at, 1).to_string(),
            wit_parser::Type::U16 => self.int(at, 2).to_string(),
            wit_parser::Type::U32 => self.int(at, 4).to_string(),
            wit_parser::Type::U64 => self.int(at, 8).to_string(),
            wit_parser::Type::String => {
                let (start, len) = (self.int(at, 4) as usize, self.int(at + 4, 4) as usize);
                format!("{:?}", std::str::from_utf8(&self.memory[start..start + len]).unwrap())
            }
            wit_parser::Type::Id(id) => self.defined(&self.reference.resolve.types[*id].kind, at),
            other => panic!("{other:?}"),
        }
    }

    fn defined(&self, kind: &TypeDefKind, at: usize) -> String {
        match kind {
            TypeDefKind::Record(record) => {
                let offsets = self.reference.sizes.field_offsets(record.fields.iter().map(|field| &field.ty));
                let fields = record.fields.iter().zip(offsets).map(|(field, (offset, ty))| {
                    format!("{}: {}", field.name, self.text(ty, at + offset.size_wasm32()))
                });
                format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
            }
            TypeDefKind::List(element) => {
                let (start, len) = (self.int(at, 4) as usize, self.int(at + 4, 4) as usize);
                let size = self.reference.sizes.size(element).size_wasm32();
                let elements = (0..len).map(|index| self.text(element, start + index * size));
                format!("[{}]", elements.collect::<Vec<_>>().join(", "))
            }
            TypeDefKind::Option(some) => self.variant(&[("none", None), ("some", Some(some))], at),
            TypeDefKind::Result(result) => {
                self.variant(&[("ok", result.ok.as_ref()), ("err", result.err.as_ref())], at)
            }
            other => panic!("{other:?}"),
        }
    }

    fn variant(&self, cases: &[(&str, Option<&wit_parser::Type>)], at: usize) -> String {
        let (name, payload) = cases[self.int(at, 1) as usize];
        let offset = self
            .reference
            .sizes
            .payload_offset(wit_parser::Int::U8, cases.iter().map(|(_, ty)| *ty))
            .size_wasm32();
        payload.map_or(name.to_owned(), |ty| format!("{name}({})", self.text(ty, at + offset)))
    }
}

/// What `wit-parser`'s layout reads of a value that we wrote as the result of an imported function.
fn written_import<T: super::lower::Lower>(function: &str, value: &T) -> String {
    let reference = Reference::of("0.3.1");
    let function = &reference.resolve.interfaces[reference.imported].functions[function];
    let ty = function.result.unwrap();
    written(&reference, &ty, value)
}

/// What `wit-parser`'s layout reads of a tool's response.
fn written_response(directory: &str, response: &ToolResponse) -> String {
    let reference = Reference::of(directory);
    let ty = reference.resolve.interfaces[reference.exported].functions["execute"].result.unwrap();
    written(&reference, &ty, response)
}

#[test]
fn a_tools_response_lies_at_the_offsets_of_wit_parser() {
    let response = ToolResponse { output: Some("42".into()), error: None };
    assert_eq!(written_response("tool-0.3.0", &response), r#"{output: some("42"), error: none}"#);
    let response = ToolResponse { output: None, error: Some("no".into()) };
    assert_eq!(written_response("tool-unversioned-1", &response), r#"{result: none, error: some("no")}"#);
}

fn written<T: super::lower::Lower>(reference: &Reference, ty: &wit_parser::Type, value: &T) -> String {
    let mut guest = FakeGuest::new();
    let at = guest.reserve(T::TYPE.align(), T::TYPE.size());
    lower_to_memory(value, at, &mut guest).unwrap();
    Decoder { reference, memory: &guest.memory }.text(ty, at as usize)
}

#[test]
fn results_of_imports_lie_at_the_offsets_of_wit_parser() {
    let response = HttpResponse { status: 418, headers_json: "{}".into(), body: vec![1, 255] };
    let pairing = PairingUpsertResult { code: "K7".into(), created: true };
    let rows = [
        (written_import("workspace-read", &Some("text".to_owned())), r#"some("text")"#),
        (written_import("workspace-read", &None::<String>), "none"),
        (written_import("workspace-write", &Ok::<(), String>(())), "ok"),
        (written_import("workspace-write", &Err::<(), String>("full".into())), r#"err("full")"#),
        (
            written_import("http-request", &Ok::<_, String>(response)),
            r#"ok({status: 418, headers-json: "{}", body: [1, 255]})"#,
        ),
        (written_import("http-request", &Err::<HttpResponse, _>("refused".to_owned())), r#"err("refused")"#),
        (
            written_import("pairing-upsert-request", &Ok::<_, String>(pairing)),
            r#"ok({code: "K7", created: true})"#,
        ),
        (
            written_import("pairing-resolve-identity", &Ok::<_, String>(Some("ada".to_owned()))),
            r#"ok(some("ada"))"#,
        ),
        (
            written_import("pairing-read-allow-from", &Ok::<_, String>(vec!["a".to_owned(), String::new()])),
            r#"ok(["a", ""])"#,
        ),
    ];
    for (found, expected) in rows {
        assert_eq!(found, expected);
    }
}

#[test]
fn records_lie_at_the_offsets_of_wit_parser() {
    let reference = Reference::of("0.3.1");
    let named = |interface: InterfaceId, name: &str| {
        wit_parser::Type::Id(reference.resolve.interfaces[interface].types[name])
    };
    let inbound = InboundAttachment {
        id: "1".into(),
        mime_type: "a/b".into(),
        filename: None,
        size_bytes: Some(1 << 40),
        source_url: Some("u".into()),
        storage_key: None,
        extracted_text: Some("t".into()),
        extras_json: "{}".into(),
    };
    let config = ChannelConfig {
        display_name: "Web".into(),
        http_endpoints: vec![
            HttpEndpointConfig { path: "/a".into(), methods: vec!["GET".into()], require_secret: true },
            HttpEndpointConfig { path: "/b".into(), methods: vec![], require_secret: false },
        ],
        poll: Some(PollConfig { interval_ms: 30_000, enabled: true }),
    };
    let response = OutgoingHttpResponse { status: 201, headers_json: "{}".into(), body: vec![7] };
    let attachment = Attachment { filename: "f".into(), mime_type: "m".into(), data: vec![1, 2, 3] };
    let rows = [
        (
            written(&reference, &named(reference.imported, "inbound-attachment"), &inbound),
            "{id: \"1\", mime-type: \"a/b\", filename: none, size-bytes: some(1099511627776), \
             source-url: some(\"u\"), storage-key: none, extracted-text: some(\"t\"), extras-json: \"{}\"}",
        ),
        (
            written(&reference, &named(reference.exported, "channel-config"), &config),
            "{display-name: \"Web\", http-endpoints: [\
             {path: \"/a\", methods: [\"GET\"], require-secret: true}, \
             {path: \"/b\", methods: [], require-secret: false}], \
             poll: some({interval-ms: 30000, enabled: true})}",
        ),
        (
            written(&reference, &named(reference.exported, "outgoing-http-response"), &response),
            "{status: 201, headers-json: \"{}\", body: [7]}",
        ),
        (
            written(&reference, &named(reference.exported, "attachment"), &attachment),
            "{filename: \"f\", mime-type: \"m\", data: [1, 2, 3]}",
        ),
    ];
    for (found, expected) in rows {
        assert_eq!(found, expected);
    }
}

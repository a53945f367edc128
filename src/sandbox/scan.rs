//! What is done to a guest's core module before wasmi sees it.
//!
//! - What it holds is counted against limits: see [`ModuleSize`].
//! - The start section is taken out and its function exported: wasmi would run it to its end while it instantiates,
//!   without slices. The host calls it first instead.
//! - The memory becomes an import, so that the host can make it with room to grow: see [`MemoryPlan`].
//! - Exports that the host never uses and custom sections go away, because instances and memory pay for them.

use wasmparser::{BinaryReader, ExportSectionReader, ExternalKind, Parser, Payload};

use super::bounds::{BoundsError, ModuleSize};

/// The name under which the start function is exported.
pub(super) const START_EXPORT: &str = "tinclaw:start";

/// The name under which the memory is imported.
pub(super) const MEMORY_IMPORT: (&str, &str) = ("tinclaw", "memory");

const IMPORT_SECTION: u8 = 2;
const MEMORY_SECTION: u8 = 5;
const EXPORT_SECTION: u8 = 7;
const START_SECTION: u8 = 8;
/// Pages by which a callback can grow its memory before it is moved. Most need one to three.
const ROOM_TO_GROW: u32 = 12;

/// A module that is ready for wasmi.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scanned {
    pub(super) bytes: Vec<u8>,
    /// The function under [`START_EXPORT`] must be called before anything else.
    pub(super) has_start: bool,
    /// The memory that the host has to provide.
    pub(super) memory: Option<MemoryPlan>,
    pub(super) size: ModuleSize,
}

/// How to make a guest's memory so that it need not be moved when the guest's allocator first grows it.
///
/// wasmi keeps a memory in a vector without spare room. Nearly every callback grows its memory by a page or two, and
/// the vector then moves all of it: 1.1 MB of copying, a third of a callback's time. A vector that grows doubles its
/// room, though. So the memory is made with `first` pages and grown to `initial` at once, when nothing has been put
/// behind it yet and it can grow where it stands: what is left of the doubled room is for the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MemoryPlan {
    /// Pages to make it with.
    pub(super) first: u32,
    /// Pages that the guest's module asks for.
    pub(super) initial: u32,
    /// The most pages that it may ever have, if the module says so.
    pub(super) maximum: Option<u32>,
}

impl MemoryPlan {
    fn new(initial: u32, maximum: Option<u32>) -> Self {
        // Twice `first` is the room that there will be. Below `initial`, or there would be no growing.
        let first = (initial.saturating_add(ROOM_TO_GROW).div_ceil(2)).min(initial.saturating_sub(1));
        // A small memory is moved quickly, and would not get any room worth having.
        let first = if initial > ROOM_TO_GROW / 2 { first } else { initial };
        Self { first, initial, maximum }
    }
}

/// Counts a core module and rewrites it, keeping the exports whose names `keep` wants.
pub(super) fn scan(module: &[u8], keep: impl Fn(&str) -> bool) -> Result<Scanned, BoundsError> {
    let payloads = Parser::new(0).parse_all(module).collect::<Result<Vec<_>, _>>()?;
    let size = ModuleSize::of(&payloads)?;
    let memory = memory_plan(&payloads)?;
    let start = payloads.iter().find_map(|payload| match payload {
        Payload::StartSection { func, .. } => Some(*func),
        _ => None,
    });
    let bytes = rewrite(module, &payloads, start, memory, keep)?;
    Ok(Scanned { bytes, has_start: start.is_some(), memory, size })
}

fn memory_plan(payloads: &[Payload<'_>]) -> Result<Option<MemoryPlan>, BoundsError> {
    let too_many =
        || BoundsError::Malformed("its memory has more pages than a 32-bit memory can have".to_owned());
    let pages = |pages: u64| u32::try_from(pages).map_err(|_| too_many());
    let mut plan = None;
    for payload in payloads {
        let Payload::MemorySection(memories) = payload else { continue };
        for ty in memories.clone() {
            let ty = ty?;
            plan = Some(MemoryPlan::new(pages(ty.initial)?, ty.maximum.map(pages).transpose()?));
        }
    }
    Ok(plan)
}

fn rewrite(
    module: &[u8],
    payloads: &[Payload<'_>],
    start: Option<u32>,
    memory: Option<MemoryPlan>,
    keep: impl Fn(&str) -> bool,
) -> Result<Vec<u8>, BoundsError> {
    let mut out = Vec::with_capacity(module.len());
    let has_exports = payloads.iter().any(|payload| matches!(payload, Payload::ExportSection(_)));
    let mut has_imports = false;
    for payload in payloads {
        let section = payload.as_section().map(|(id, contents)| (id, &module[contents]));
        // Imports come right behind the types.
        if section.is_some_and(|(id, _)| id > IMPORT_SECTION) && !has_imports {
            has_imports = true;
            push_section(&mut out, IMPORT_SECTION, &import_section(&[0], memory)?);
        }
        match (payload, section) {
            (Payload::Version { range, .. }, _) => out.extend_from_slice(&module[range.clone()]),
            (Payload::ImportSection(_), Some((id, contents))) => {
                has_imports = true;
                push_section(&mut out, id, &import_section(contents, memory)?);
            }
            (Payload::ExportSection(exports), _) => {
                push_section(&mut out, EXPORT_SECTION, &export_section(Some(exports), start, &keep)?);
            }
            // The export section belongs right before the start section, which is where we are.
            (Payload::StartSection { .. }, _) if !has_exports => {
                push_section(&mut out, EXPORT_SECTION, &export_section(None, start, &keep)?);
            }
            (Payload::CustomSection(_), _) | (_, None | Some((MEMORY_SECTION | START_SECTION, _))) => {}
            (_, Some((id, contents))) => push_section(&mut out, id, contents),
        }
    }
    Ok(out)
}

/// The imports of `contents`, and behind them the memory.
fn import_section(contents: &[u8], memory: Option<MemoryPlan>) -> Result<Vec<u8>, BoundsError> {
    let Some(memory) = memory else { return Ok(contents.to_vec()) };
    let mut reader = BinaryReader::new(contents, 0);
    let count = reader.read_var_u32()?;
    let mut section = Vec::with_capacity(contents.len() + 32);
    push_u32(&mut section, count + 1);
    section.extend_from_slice(&contents[reader.original_position()..]);
    push_name(&mut section, MEMORY_IMPORT.0);
    push_name(&mut section, MEMORY_IMPORT.1);
    section.extend([2, u8::from(memory.maximum.is_some())]);
    push_u32(&mut section, memory.initial);
    if let Some(maximum) = memory.maximum {
        push_u32(&mut section, maximum);
    }
    Ok(section)
}

fn export_section(
    exports: Option<&ExportSectionReader<'_>>,
    start: Option<u32>,
    keep: impl Fn(&str) -> bool,
) -> Result<Vec<u8>, BoundsError> {
    let mut entries = Vec::new();
    let mut count = 0;
    for export in exports.cloned().into_iter().flatten() {
        let export = export?;
        // An export of an unknown kind is left for wasmi to refuse.
        let kind = match export.kind {
            ExternalKind::Func => 0,
            ExternalKind::Table => 1,
            ExternalKind::Memory => 2,
            ExternalKind::Global => 3,
            _ => 4,
        };
        if keep(export.name) || kind == 4 {
            push_export(&mut entries, export.name, kind, export.index);
            count += 1;
        }
    }
    if let Some(index) = start {
        push_export(&mut entries, START_EXPORT, 0, index);
        count += 1;
    }
    let mut section = Vec::with_capacity(entries.len() + 5);
    push_u32(&mut section, count);
    section.extend(entries);
    Ok(section)
}

fn push_export(out: &mut Vec<u8>, name: &str, kind: u8, index: u32) {
    push_name(out, name);
    out.push(kind);
    push_u32(out, index);
}

fn push_name(out: &mut Vec<u8>, name: &str) {
    push_u32(out, name.len() as u32);
    out.extend_from_slice(name.as_bytes());
}

fn push_section(out: &mut Vec<u8>, id: u8, contents: &[u8]) {
    out.push(id);
    push_u32(out, contents.len() as u32);
    out.extend_from_slice(contents);
}

/// Unsigned LEB128, as everywhere in the binary format.
fn push_u32(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan_wat(text: &str) -> Result<Scanned, BoundsError> {
        scan(&wat::parse_str(text).unwrap(), |name| name.starts_with("keep"))
    }

    fn exports(module: &[u8]) -> Vec<String> {
        let module = wasmi::Module::new(&wasmi::Engine::default(), module).unwrap();
        module.exports().map(|export| export.name().to_owned()).collect()
    }

    #[test]
    fn the_start_function_is_exported_instead_of_started() {
        let with_exports = r#"(module (func $f) (func (export "keep")) (func (export "other")) (start $f))"#;
        let without_exports = "(module (func $f unreachable) (start $f))";
        for (text, expected) in
            [(with_exports, vec!["keep", START_EXPORT]), (without_exports, vec![START_EXPORT])]
        {
            let scanned = scan_wat(text).unwrap();
            assert!(scanned.has_start);
            assert_eq!(exports(&scanned.bytes), expected);
            assert!(
                Parser::new(0)
                    .parse_all(&scanned.bytes)
                    .all(|p| !matches!(p, Ok(Payload::StartSection { .. })))
            );
        }
    }

    #[test]
    fn a_guests_own_export_of_the_private_name_does_not_stand_in_for_it() {
        let scanned = scan_wat(r#"(module (func (export "tinclaw:start")))"#).unwrap();
        assert!(!scanned.has_start);
        assert_eq!(exports(&scanned.bytes), Vec::<String>::new());
    }

    #[test]
    fn custom_sections_and_unused_exports_go_away() {
        let scanned = scan_wat(
            r#"(module (@custom "notes" "text") (memory (export "keep-memory") 1) (func (export "x")))"#,
        );
        let scanned = scanned.unwrap();
        assert_eq!(exports(&scanned.bytes), ["keep-memory"]);
        assert!(!scanned.bytes.windows(4).any(|bytes| bytes == b"text"));
        assert_eq!(scanned.size.memory_bytes, 64 * 1024);
    }

    #[test]
    fn the_memory_is_imported_behind_what_the_guest_imports() {
        let imports = |text: &str| {
            let scanned = scan_wat(text).unwrap();
            let module = wasmi::Module::new(&wasmi::Engine::default(), &scanned.bytes).unwrap();
            let names = module.imports().map(|import| format!("{} {}", import.module(), import.name()));
            (names.collect::<Vec<_>>(), scanned.memory.unwrap())
        };
        let (names, plan) = imports(
            r#"(module (import "a" "b" (func)) (memory 1 7) (func call 0) (data (i32.const 0) "x"))"#,
        );
        assert_eq!(names, ["a b", "tinclaw memory"]);
        assert_eq!((plan.initial, plan.maximum), (1, Some(7)));
        let (names, plan) = imports("(module (memory 2) (func (drop (memory.size))))");
        assert_eq!(names, ["tinclaw memory"]);
        assert_eq!((plan.initial, plan.maximum), (2, None));
        assert_eq!(imports("(module (memory 0))").0, ["tinclaw memory"]);
    }

    #[test]
    fn a_large_memory_gets_room_to_grow_where_it_stands() {
        for initial in [0, 1, 2, 6, 7, 17, 18, 100, 65_536] {
            let plan = MemoryPlan::new(initial, None);
            assert!(plan.first <= initial, "{initial}");
            let room = u64::from(plan.first) * 2;
            if initial > 14 {
                assert!(
                    plan.first < initial && room >= u64::from(initial) + u64::from(ROOM_TO_GROW),
                    "{initial}"
                );
            }
        }
        assert_eq!(MemoryPlan::new(17, Some(20)), MemoryPlan { first: 15, initial: 17, maximum: Some(20) });
        assert_eq!(MemoryPlan::new(2, None).first, 2);
    }

    #[test]
    fn only_core_modules_are_accepted() {
        for bytes in [&b""[..], b"text", b"\0asm\x0d\0\x01\0", b"\0asm\x01\0\0\0\x01\xff"] {
            assert!(matches!(scan(bytes, |_| true), Err(BoundsError::Malformed(_))), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn numbers_are_read_back_as_they_were_written(value in any::<u32>()) {
            let mut bytes = Vec::new();
            push_u32(&mut bytes, value);
            let mut reader = wasmparser::BinaryReader::new(&bytes, 0);
            prop_assert_eq!(reader.read_var_u32().unwrap(), value);
            prop_assert!(reader.eof());
        }

        #[test]
        fn damaged_modules_are_refused_without_a_panic(at in 0_usize..200, byte in any::<u8>()) {
            let text = r#"(module (func $f) (memory (export "keep") 1) (table 2 funcref) (elem func $f)
                (data (i32.const 0) "abc") (global i32 (i32.const 1)) (start $f))"#;
            let mut module = wat::parse_str(text).unwrap();
            let at = at % module.len();
            module[at] = byte;
            let _ = scan(&module, |_| true);
        }
    }
}

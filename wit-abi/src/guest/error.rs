//! Why a binary is no guest.

use thiserror::Error;

use crate::abi_version::World;
use crate::canonical::CoreFuncType;

/// Why a binary is refused. Each message says what was found and what would be accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GuestError {
    /// The file is larger than [`MAX_GUEST_SIZE`](super::MAX_GUEST_SIZE).
    #[error("the file has {size} bytes; a guest may have at most {limit}")]
    TooLarge {
        /// The size of the file in bytes.
        size: usize,
        /// The most that is accepted, in bytes.
        limit: usize,
    },
    /// The file does not begin as WebAssembly does.
    #[error(
        "this is not WebAssembly: it begins with {found}. \
         A guest is a component or a core module in binary form (`00 61 73 6d`)"
    )]
    NotWebAssembly {
        /// The first bytes, in hexadecimal, or that there are none.
        found: String,
    },
    /// The file is damaged, or uses a feature of WebAssembly that is not supported, such as 64-bit memories, threads or
    /// exceptions; the message names the feature.
    #[error("the WebAssembly is not valid at byte {offset}: {message}")]
    Malformed {
        /// Where in the file.
        offset: usize,
        /// What is wrong there.
        message: String,
    },
    /// Types or components are nested too deeply.
    #[error("types or components are nested more than {limit} deep at byte {offset}")]
    TooDeep {
        /// Where in the file.
        offset: usize,
        /// The deepest nesting that is accepted.
        limit: u32,
    },
    /// The file is WebAssembly, but no guest of the world that is asked for, or one of a version that is not known.
    #[error(
        "this is no {world}: it exports {}. A {world} exports the interface `{}`, without a version or at {}",
        list_or_nothing(.exports),
        .world.interface(),
        versions(*.world)
    )]
    OtherWorld {
        /// The world that is asked for.
        world: World,
        /// The names of what it exports; at most 20.
        exports: Vec<String>,
    },
    /// The component is of the right world, but its code is not where it would be.
    #[error(
        "no core module in this component exports the functions of `{}` under their canonical names, \
         such as `{}`. Components made by wasm-tools, cargo, componentize-go and wit-bindgen do",
        .world.interface(),
        canonical_name(*.world)
    )]
    NoMainModule {
        /// The world.
        world: World,
    },
    /// Something that every guest of the world exports is not there.
    #[error("the {world} does not export {}; every {world} does", list(.names))]
    MissingExport {
        /// The world.
        world: World,
        /// The names of all that is missing.
        names: Vec<String>,
    },
    /// The guest imports what the host does not have.
    #[error(
        "the {world} imports what this host does not have: {}. It has {}, and the WASI that a standard library needs",
        list(.imports),
        given(*.world)
    )]
    UnknownImports {
        /// The world.
        world: World,
        /// All of them, as `module name`.
        imports: Vec<String>,
    },
    /// A function of the guest, or a type in it, differs from that of its world or of the host's WASI.
    #[error("`{function}` differs from what this host has: {place} is `{found}`, expected `{expected}`")]
    SignatureDiffers {
        /// The function.
        function: String,
        /// Which part of it, for example `parameter timeout-ms`.
        place: String,
        /// What the guest has there.
        found: String,
        /// What the host has there.
        expected: String,
    },
    /// The component is made of several components or several programs.
    #[error(
        "the component is composed: {what}. A guest is one component around one program; compose nothing into it"
    )]
    Composed {
        /// What was found in it.
        what: String,
    },
    /// The component uses a string encoding other than UTF-8.
    #[error("the component's strings are encoded as {found}; a guest's strings are UTF-8")]
    StringEncoding {
        /// The encoding.
        found: &'static str,
    },
    /// The component uses the asynchronous ABI.
    #[error("the component uses {what} of the asynchronous ABI; a guest's functions are synchronous")]
    Async {
        /// What it uses.
        what: String,
    },
}

impl GuestError {
    pub(super) fn core_type_differs(function: String, found: &CoreFuncType, expected: &CoreFuncType) -> Self {
        GuestError::SignatureDiffers {
            function,
            place: "its core type".to_owned(),
            found: found.to_string(),
            expected: expected.to_string(),
        }
    }
}

impl From<wasmparser::BinaryReaderError> for GuestError {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        GuestError::Malformed { offset: error.offset(), message: error.message().to_owned() }
    }
}

/// The versions of a world's interfaces that are known.
fn versions(world: World) -> &'static str {
    match world {
        World::Channel => "0.2.0, 0.3.0 or 0.3.1",
        World::Tool => "0.2.0 or 0.3.0",
    }
}

fn canonical_name(world: World) -> &'static str {
    match world {
        World::Channel => "near:agent/channel@0.3.1#on-start",
        World::Tool => "near:agent/tool@0.3.0#execute",
    }
}

/// The interfaces that the guests of a world may import.
fn given(world: World) -> String {
    let versions = versions(world);
    match world {
        World::Channel => format!(
            "`near:agent/channel-host` (without a version or at {versions}), `tinclaw:timers/host@0.1.0`, \
             `tinclaw:socket/host@0.1.0`"
        ),
        World::Tool => {
            format!("`near:agent/host` (without a version or at {versions}), `tinclaw:tools/state@0.1.0`")
        }
    }
}

fn list(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

fn list_or_nothing(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { list(names) }
}

//! Guests made by `wit-component` and by hand, and what is read from them.

use std::path::{Path, PathBuf};

use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{ManglingAndAbi, Resolve};

use super::*;
use crate::flavour::NamedFlavour;

fn wit(directory: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("wit").join(directory)
}

const DIRECTORIES: [(&str, NamedFlavour); 9] = [
    ("unversioned-1", NamedFlavour::Unversioned1),
    ("unversioned-2", NamedFlavour::Unversioned2),
    ("unversioned-3", NamedFlavour::Unversioned3),
    ("unversioned-4", NamedFlavour::Unversioned4),
    ("unversioned-5", NamedFlavour::Unversioned5),
    ("0.2.0", NamedFlavour::V0_2_0),
    ("0.3.0-first", NamedFlavour::V0_3_0First),
    ("0.3.0-second", NamedFlavour::V0_3_0Second),
    ("0.3.1", NamedFlavour::V0_3_1),
];

/// A core module that imports and exports all of the world in `directory`, with the world in a custom section.
fn core_module(directory: &str, mangling: ManglingAndAbi) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit(directory)).unwrap();
    let world = resolve.select_world(package, Some("sandboxed-channel")).unwrap();
    let mut module = dummy_module(&resolve, world, mangling);
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    module
}

fn component(core: &[u8]) -> Vec<u8> {
    ComponentEncoder::default().validate(true).module(core).unwrap().encode().unwrap()
}

fn nothing_else(_: &ImportName<'_>) -> ImportKnowledge {
    ImportKnowledge::Unknown
}

fn read(bytes: &[u8]) -> Result<Guest<'_>, GuestError> {
    read_guest(bytes, &nothing_else)
}

#[test]
fn a_component_of_every_flavour_is_read() {
    for (directory, named) in DIRECTORIES {
        let bytes =
            component(&core_module(directory, ManglingAndAbi::Legacy(wit_parser::LiftLowerAbi::Sync)));
        let guest = read(&bytes).unwrap_or_else(|error| panic!("{directory}: {error}"));
        assert_eq!(guest.kind, GuestKind::Component);
        assert_eq!(guest.flavour, named.flavour(), "{directory}");
        assert_eq!(guest.flavour.nearest(), named);
    }
}

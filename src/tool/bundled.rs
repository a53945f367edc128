//! Tools that come with the program. With the feature `bundled` (on by default) their files are inside the program; without
//! it their names are known and nothing can be installed.

use crate::channel::ChannelFiles;

/// The tools that come with the program. `tools/build.sh` packs their files.
const NAMES: &[&str] = &["fetch", "home_assistant", "notes"];

/// Their names.
pub(crate) fn bundled_tool_names() -> &'static [&'static str] {
    NAMES
}

/// The files of a tool, when it is one of them and in this build; `-` is as good as `_`.
pub(crate) fn bundled_tool_files(name: &str) -> Option<(&'static str, ChannelFiles)> {
    let name = NAMES.iter().find(|known| **known == name.replace('-', "_"))?;
    Some((name, unpack(name)?))
}

#[cfg(feature = "bundled")]
fn unpack(name: &str) -> Option<ChannelFiles> {
    let (wasm, capabilities) = (format!("{name}.wasm"), format!("{name}.capabilities.json"));
    let [wasm, capabilities] =
        crate::channel::archive::read(crate::channel::archive::TOOLS, [&wasm, &capabilities]).ok()?;
    Some(ChannelFiles { wasm, capabilities: Some(capabilities) })
}

#[cfg(not(feature = "bundled"))]
fn unpack(_: &str) -> Option<ChannelFiles> {
    None
}

#[cfg(all(test, feature = "bundled"))]
mod tests {
    use super::*;
    use crate::{WasmToolRuntime, WasmToolRuntimeConfig};

    #[test]
    fn every_bundled_tool_is_one_and_has_its_file() {
        let runtime = WasmToolRuntime::new(WasmToolRuntimeConfig::default()).unwrap();
        for name in bundled_tool_names() {
            let (found, files) = bundled_tool_files(&name.replace('_', "-")).unwrap();
            assert_eq!(found, *name);
            let tool = runtime.prepare(name, &files.wasm, files.capabilities.as_deref()).unwrap();
            assert!(tool.schema()["properties"].is_object() && tool.description().len() > 20, "{name}");
        }
        assert!(bundled_tool_files("rocket").is_none());
    }
}

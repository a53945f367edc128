//! A home with a directory of channels, and versions of the fixture guests.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::cli_support::{Place, RunningHost};
use crate::support::{client, eventually, fixtures};

/// A home whose channels lie in `channels`, with the web chat.
pub fn home() -> Place {
    let place = Place::new();
    place.file("tinclaw.toml", "channels = [\"channels\"]\nwebchat = true\n");
    std::fs::create_dir(place.path().join("channels")).unwrap();
    place
}

/// A version of `everything` in a folder of its own, with another capability file. Returns the path of its guest.
pub fn version(place: &Place, folder: &str, change: impl FnOnce(&mut Value)) -> PathBuf {
    version_of(place, folder, &fixtures::guest("everything"), change)
}

/// The same with this guest.
pub fn version_of(place: &Place, folder: &str, guest: &[u8], change: impl FnOnce(&mut Value)) -> PathBuf {
    let file = std::fs::read(fixtures::path("everything.capabilities.json")).unwrap();
    let mut file: Value = serde_json::from_slice(&file).unwrap();
    file["config"]["display_name"] = folder.into();
    change(&mut file);
    place.file(&format!("{folder}/everything.capabilities.json"), file.to_string());
    place.file(&format!("{folder}/everything.wasm"), guest)
}

/// A guest with a custom section that ends in this text.
pub fn guest_of(text: &str) -> Vec<u8> {
    let mut guest = fixtures::guest("everything");
    let length = u8::try_from(text.len() + 2).unwrap();
    guest.extend([0, length, 1, b'n']);
    guest.extend(text.as_bytes());
    guest
}

/// A path that a version asks for beyond the others.
pub const MORE: &str = "/webhook/everything/more/still";

pub fn asks_for_more(file: &mut Value) {
    let paths = file["capabilities"]["channel"]["allowed_paths"].as_array_mut().unwrap();
    paths.push(MORE.into());
}

/// The name that the running version shows, once the channel is ready.
pub fn running_version(place: &Place) -> Option<String> {
    let listed = place.run(&["channels", "list", "--json"]).json();
    let channels = listed["channels"].as_array().unwrap().clone();
    let channel = channels.into_iter().find(|channel| channel["name"] == "everything")?;
    Some(channel["display_name"].as_str()?.to_owned())
}

pub fn wait_for_version(place: &Place, version: &str) {
    eventually(&format!("version {version} runs"), || {
        (running_version(place).as_deref() == Some(version)).then_some(())
    });
}

/// The status of a request to the channel.
pub fn post(host: &RunningHost) -> u16 {
    client::request(host.address, "POST", "/webhook/everything", &[], b"{\"do\": \"none\"}").status
}

/// The files of the channel that count, by their names.
pub fn files(place: &Place) -> Vec<String> {
    let entries = std::fs::read_dir(place.path().join("channels")).unwrap().flatten();
    let names = entries.filter(|entry| entry.path().is_file()).map(|entry| entry.file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The version whose capability file lies in the directory.
pub fn installed_version(place: &Place) -> String {
    let text = std::fs::read_to_string(place.path().join("channels/everything.capabilities.json")).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    file["config"]["display_name"].as_str().unwrap().to_owned()
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

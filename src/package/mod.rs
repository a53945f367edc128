//! Packages of channels: where they come from, who signed them, what the operator has approved, and how their files get into a
//! directory of channels.
//!
//! | file | job |
//! |---|---|
//! | `source`, `archive`, `fetch` | a package from the program, a file, a directory, an archive, or addresses |
//! | `manifest`, `signature` | what a package is, and who says so |
//! | `right` | what a capability file allows, and what one allows beyond another |
//! | `record` | what the operator decided about each channel |
//! | `policy` | whether a channel may be loaded |
//! | `staging`, `lock`, `staging_error` | files on their way into a directory, whole or not at all |
//! | `waiting_packages` | the packages that wait, for commands that only look |

mod archive;
mod fetch;
mod lock;
mod manifest;
mod policy;
mod record;
mod right;
mod signature;
mod source;
mod staging;
mod staging_error;
mod waiting_packages;

pub(crate) use fetch::Fetcher;
pub(crate) use lock::LOCK_TIME_AT_START;
pub(crate) use manifest::Manifest;
pub(crate) use policy::{LoadRefusal, PackagePolicy, Trust, check_approval, parsed};
pub(crate) use record::{Approved, Records};
pub(crate) use right::{Right, rights_of};
pub(crate) use signature::{SignatureError, TrustedKey, new_key_pair, sign};
pub(crate) use source::{Package, files_of, read as read_package, read_bundled};
pub(crate) use staging::{PackageFiles, Pending, Staging};
pub(crate) use staging_error::StagingError;
pub(crate) use waiting_packages::waiting_in;

//! What a guest's binary shows of the world that it was built for.

use std::fmt;

use crate::exports::GuestFunc;
use crate::imports::HostFunc;
use crate::types::StatusType;

/// What kind of guest a binary is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum World {
    /// `near:agent/sandboxed-channel`.
    Channel,
    /// `near:agent/sandboxed-tool`.
    Tool,
}

impl World {
    /// The interface that its guests export.
    pub fn interface(self) -> &'static str {
        match self {
            World::Channel => "near:agent/channel",
            World::Tool => "near:agent/tool",
        }
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            World::Channel => "channel",
            World::Tool => "tool",
        })
    }
}

/// The version in the names of a guest's interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PackageVersion {
    /// `near:agent`, without a version.
    Unversioned,
    /// `near:agent@0.2.0`.
    V0_2_0,
    /// `near:agent@0.3.0`.
    V0_3_0,
    /// `near:agent@0.3.1`.
    V0_3_1,
    /// `near:agent@0.2`, as the `cm32p2` names of core modules write 0.2.0.
    V0_2,
    /// `near:agent@0.3`, as the `cm32p2` names of core modules write 0.3.0 and 0.3.1.
    V0_3,
}

impl PackageVersion {
    const ALL: [PackageVersion; 6] = [
        PackageVersion::Unversioned,
        PackageVersion::V0_2_0,
        PackageVersion::V0_3_0,
        PackageVersion::V0_3_1,
        PackageVersion::V0_2,
        PackageVersion::V0_3,
    ];

    /// What stands behind the interface's name: `""`, `"@0.2.0"` and so on.
    pub fn suffix(self) -> &'static str {
        match self {
            PackageVersion::Unversioned => "",
            PackageVersion::V0_2_0 => "@0.2.0",
            PackageVersion::V0_3_0 => "@0.3.0",
            PackageVersion::V0_3_1 => "@0.3.1",
            PackageVersion::V0_2 => "@0.2",
            PackageVersion::V0_3 => "@0.3",
        }
    }

    /// The version that `suffix` stands for, when it is one that guests are built for.
    pub(crate) fn from_suffix(suffix: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.suffix() == suffix)
    }

    /// Whether both may name the same package, one of them shortened.
    pub(crate) fn agrees_with(self, other: Self) -> bool {
        self == other || self.shortened() == other || self == other.shortened()
    }

    fn shortened(self) -> Self {
        match self {
            PackageVersion::V0_2_0 => PackageVersion::V0_2,
            PackageVersion::V0_3_0 | PackageVersion::V0_3_1 => PackageVersion::V0_3,
            other => other,
        }
    }
}

/// The shapes that the two worlds had, those of a world one after the other. Each has a `.wit` file of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NamedAbiVersion {
    /// `near:agent` as first published.
    Unversioned1,
    /// `near:agent` with `on-status` and its five cases.
    Unversioned2,
    /// `near:agent` with a timeout for `http-request`.
    Unversioned3,
    /// `near:agent` with pairing.
    Unversioned4,
    /// `near:agent` with eleven cases of `status-type`.
    Unversioned5,
    /// `near:agent@0.2.0`: the last unversioned shape under versioned names.
    V0_2_0,
    /// `near:agent@0.3.0` with attachments and `on-broadcast`.
    V0_3_0First,
    /// `near:agent@0.3.0` with `pairing-resolve-identity` in place of `pairing-is-allowed`.
    V0_3_0Second,
    /// `near:agent@0.3.1` with `websocket-send-text`.
    V0_3_1,
    /// The tool world as first published: `log`, `now-millis` and `workspace-read`.
    ToolUnversioned1,
    /// The tool world with `http-request`, `tool-invoke` and `secret-exists`.
    ToolUnversioned2,
    /// The tool world with a timeout for `http-request`, and a response's text named `output`.
    ToolUnversioned3,
    /// The tool world of `near:agent@0.2.0`.
    ToolV0_2_0,
    /// The tool world of `near:agent@0.3.0`.
    ToolV0_3_0,
}

impl NamedAbiVersion {
    /// Every shape, those of a world oldest first.
    pub const ALL: [NamedAbiVersion; 14] = [
        NamedAbiVersion::Unversioned1,
        NamedAbiVersion::Unversioned2,
        NamedAbiVersion::Unversioned3,
        NamedAbiVersion::Unversioned4,
        NamedAbiVersion::Unversioned5,
        NamedAbiVersion::V0_2_0,
        NamedAbiVersion::V0_3_0First,
        NamedAbiVersion::V0_3_0Second,
        NamedAbiVersion::V0_3_1,
        NamedAbiVersion::ToolUnversioned1,
        NamedAbiVersion::ToolUnversioned2,
        NamedAbiVersion::ToolUnversioned3,
        NamedAbiVersion::ToolV0_2_0,
        NamedAbiVersion::ToolV0_3_0,
    ];

    /// The world that this is a shape of.
    pub fn world(self) -> World {
        if self < NamedAbiVersion::ToolUnversioned1 { World::Channel } else { World::Tool }
    }

    /// The shapes of one world, oldest first.
    pub(crate) fn of_world(world: World) -> impl DoubleEndedIterator<Item = Self> {
        Self::ALL.into_iter().filter(move |row| row.world() == world)
    }

    /// The newest shape of a world.
    fn newest(world: World) -> Self {
        match world {
            World::Channel => NamedAbiVersion::V0_3_1,
            World::Tool => NamedAbiVersion::ToolV0_3_0,
        }
    }

    /// The version in its interface names.
    pub fn version(self) -> PackageVersion {
        match self {
            NamedAbiVersion::V0_2_0 | NamedAbiVersion::ToolV0_2_0 => PackageVersion::V0_2_0,
            NamedAbiVersion::V0_3_0First | NamedAbiVersion::V0_3_0Second | NamedAbiVersion::ToolV0_3_0 => {
                PackageVersion::V0_3_0
            }
            NamedAbiVersion::V0_3_1 => PackageVersion::V0_3_1,
            _ => PackageVersion::Unversioned,
        }
    }

    /// Whether this shape has the import. Timers, the websocket and a tool's files are no part of the package, so of no
    /// shape.
    pub fn imports(self, func: HostFunc) -> bool {
        match self.world() {
            World::Channel => self.channel_imports(func),
            World::Tool => self.tool_imports(func),
        }
    }

    fn tool_imports(self, func: HostFunc) -> bool {
        match func {
            HostFunc::Log | HostFunc::NowMillis | HostFunc::WorkspaceRead => true,
            HostFunc::HttpRequest | HostFunc::ToolInvoke | HostFunc::SecretExists => {
                self >= NamedAbiVersion::ToolUnversioned2
            }
            _ => false,
        }
    }

    fn channel_imports(self, func: HostFunc) -> bool {
        match func {
            HostFunc::TimerSet
            | HostFunc::TimerCancel
            | HostFunc::SocketSend
            | HostFunc::ToolInvoke
            | HostFunc::StateRead
            | HostFunc::StateWrite => false,
            HostFunc::PairingUpsertRequest | HostFunc::PairingReadAllowFrom => {
                self >= NamedAbiVersion::Unversioned4
            }
            HostFunc::PairingIsAllowed => {
                (NamedAbiVersion::Unversioned4..=NamedAbiVersion::V0_3_0First).contains(&self)
            }
            HostFunc::StoreAttachmentData => self >= NamedAbiVersion::V0_3_0First,
            HostFunc::PairingResolveIdentity => self >= NamedAbiVersion::V0_3_0Second,
            HostFunc::WebsocketSendText => self >= NamedAbiVersion::V0_3_1,
            _ => true,
        }
    }

    /// Whether this shape has the export. Timers and the websocket are no part of the package, so of no shape.
    pub fn exports(self, func: GuestFunc) -> bool {
        if func.world() != self.world() {
            return false;
        }
        match func {
            GuestFunc::OnTimer
            | GuestFunc::OnSocketOpen
            | GuestFunc::OnSocketText
            | GuestFunc::OnSocketClose => false,
            GuestFunc::OnStatus => self >= NamedAbiVersion::Unversioned2,
            GuestFunc::OnBroadcast => self >= NamedAbiVersion::V0_3_0First,
            _ => true,
        }
    }

    /// This shape with every import and export it has, as a guest that uses all of it shows it.
    pub fn abi_version(self) -> AbiVersion {
        let is_tool = self.world() == World::Tool;
        let attachments = !is_tool && self >= NamedAbiVersion::V0_3_0First;
        let newer_tool = self >= NamedAbiVersion::ToolUnversioned3;
        let mut abi_version = AbiVersion {
            world: self.world(),
            version: self.version(),
            http_timeout: if is_tool { newer_tool } else { self >= NamedAbiVersion::Unversioned3 },
            message_attachments: attachments,
            response_attachments: attachments,
            status_cases: match !is_tool && self >= NamedAbiVersion::Unversioned5 {
                true => StatusCases::Eleven,
                false => StatusCases::Five,
            },
            output_named: newer_tool,
            imports: 0,
            exports: 0,
        };
        HostFunc::ALL
            .into_iter()
            .filter(|func| self.imports(*func))
            .for_each(|func| abi_version.add_import(func));
        GuestFunc::ALL
            .into_iter()
            .filter(|func| self.exports(*func))
            .for_each(|func| abi_version.add_export(func));
        abi_version
    }
}

impl fmt::Display for NamedAbiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NamedAbiVersion::Unversioned1 => "near:agent (first)",
            NamedAbiVersion::Unversioned2 => "near:agent (second)",
            NamedAbiVersion::Unversioned3 => "near:agent (third)",
            NamedAbiVersion::Unversioned4 => "near:agent (fourth)",
            NamedAbiVersion::Unversioned5 => "near:agent (fifth)",
            NamedAbiVersion::V0_2_0 => "near:agent@0.2.0",
            NamedAbiVersion::V0_3_0First => "near:agent@0.3.0 (first)",
            NamedAbiVersion::V0_3_0Second => "near:agent@0.3.0 (second)",
            NamedAbiVersion::V0_3_1 => "near:agent@0.3.1",
            NamedAbiVersion::ToolUnversioned1 => "near:agent (first)",
            NamedAbiVersion::ToolUnversioned2 => "near:agent (second)",
            NamedAbiVersion::ToolUnversioned3 => "near:agent (third)",
            NamedAbiVersion::ToolV0_2_0 => "near:agent@0.2.0",
            NamedAbiVersion::ToolV0_3_0 => "near:agent@0.3.0",
        })
    }
}

/// How many cases the guest's `status-type` has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StatusCases {
    /// `thinking` to `tool-completed`.
    Five,
    /// All of [`StatusType`].
    Eleven,
}

impl StatusCases {
    /// Whether the guest knows `status`. One that it does not know must not be sent to it.
    pub fn contains(self, status: StatusType) -> bool {
        self == StatusCases::Eleven || status as u8 <= StatusType::ToolCompleted as u8
    }
}

/// What a guest's binary shows of its world, as far as lifting and lowering depend on it.
///
/// It is read from the binary's names and types, never from a version that something else claims. A guest shows only
/// what it uses, because encoders leave out the rest: so this is not one of the [`NamedAbiVersion`]s but the facts that
/// tell them apart. What a guest does not show is as in the nearest named ABI version, and does not matter to it.
///
/// `Display` writes the nearest named ABI version, for example `near:agent@0.3.0 (first)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AbiVersion {
    /// The world that it belongs to.
    pub world: World,
    /// The version in the names of its exports.
    pub version: PackageVersion,
    /// Whether `http-request` has its fifth parameter, `timeout-ms`.
    pub http_timeout: bool,
    /// Whether `emitted-message` has its sixth field, `attachments`.
    pub message_attachments: bool,
    /// Whether `agent-response` has its fifth field, `attachments`.
    pub response_attachments: bool,
    /// How many cases `status-type` has.
    pub status_cases: StatusCases,
    /// Whether a tool's response calls its text `output`; in older ones it is `result`. The layout is the same.
    pub output_named: bool,
    /// One bit for each [`HostFunc`].
    imports: u32,
    /// One bit for each [`GuestFunc`].
    exports: u32,
}

impl AbiVersion {
    /// A guest that shows nothing yet but the version of its names.
    pub(crate) fn bare(world: World, version: PackageVersion) -> Self {
        let mut rows = NamedAbiVersion::of_world(world).rev();
        let newest = rows.find(|row| version.agrees_with(row.version()));
        // Every version has a row: `every_version_has_a_named_abi_version` proves it.
        let shape = newest.unwrap_or(NamedAbiVersion::newest(world)).abi_version();
        AbiVersion { version, imports: 0, exports: 0, ..shape }
    }

    /// Whether the guest imports `func`.
    pub fn imports(&self, func: HostFunc) -> bool {
        self.imports & 1 << func as u16 != 0
    }

    /// Whether the guest exports `func`.
    pub fn exports(&self, func: GuestFunc) -> bool {
        self.exports & 1 << func as u16 != 0
    }

    pub(crate) fn add_import(&mut self, func: HostFunc) {
        self.imports |= 1 << func as u16;
    }

    pub(crate) fn add_export(&mut self, func: GuestFunc) {
        self.exports |= 1 << func as u16;
    }

    /// Takes from the nearest named ABI version what the guest does not show.
    pub(crate) fn complete(&mut self) {
        let shape = self.nearest().abi_version();
        if !self.imports(HostFunc::HttpRequest) {
            self.http_timeout = shape.http_timeout;
        }
        if !self.imports(HostFunc::EmitMessage) {
            self.message_attachments = shape.message_attachments;
        }
        if !self.exports(GuestFunc::OnStatus) {
            self.status_cases = shape.status_cases;
        }
    }

    /// The named ABI version that this guest differs least from; the oldest where several are equally near, because a
    /// guest that shows nothing newer needs nothing newer.
    pub fn nearest(&self) -> NamedAbiVersion {
        let rows = NamedAbiVersion::of_world(self.world);
        let rows = rows.filter(|row| self.version.agrees_with(row.version()));
        rows.min_by_key(|row| self.distance(*row)).unwrap_or(NamedAbiVersion::newest(self.world))
    }

    /// What the guest shows and `row` has not counts twice; what `row` has and a guest need not show, once.
    fn distance(&self, row: NamedAbiVersion) -> usize {
        let shape = row.abi_version();
        let excess = HostFunc::ALL
            .into_iter()
            .filter(|func| self.imports(*func) && !shape.imports(*func))
            .count()
            + GuestFunc::ALL.into_iter().filter(|func| self.exports(*func) && !shape.exports(*func)).count();
        let absent =
            GuestFunc::ALL.into_iter().filter(|func| !self.exports(*func) && shape.exports(*func)).count();
        let facts = [
            self.imports(HostFunc::HttpRequest) && self.http_timeout != shape.http_timeout,
            self.imports(HostFunc::EmitMessage) && self.message_attachments != shape.message_attachments,
            self.response_attachments != shape.response_attachments,
            self.exports(GuestFunc::OnStatus) && self.status_cases != shape.status_cases,
            self.output_named != shape.output_named,
        ];
        2 * (excess + facts.into_iter().filter(|differs| *differs).count()) + absent
    }
}

impl fmt::Display for AbiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.nearest().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_abi_version_is_nearest_to_itself() {
        for row in NamedAbiVersion::ALL {
            assert_eq!(row.abi_version().nearest(), row);
            assert_eq!(row.abi_version().to_string(), row.to_string());
        }
    }

    #[test]
    fn every_version_has_a_named_abi_version() {
        for version in PackageVersion::ALL {
            assert!(
                NamedAbiVersion::ALL.into_iter().any(|row| version.agrees_with(row.version())),
                "{version:?}"
            );
            let bare = AbiVersion::bare(World::Channel, version);
            assert_eq!((bare.world, bare.version), (World::Channel, version));
            assert_eq!(PackageVersion::from_suffix(version.suffix()), Some(version));
        }
    }

    #[test]
    fn a_guest_that_shows_little_is_of_the_oldest_shape_that_has_it() {
        let mut abi_version = NamedAbiVersion::V0_3_0Second.abi_version();
        abi_version.imports = 0;
        assert_eq!(abi_version.nearest(), NamedAbiVersion::V0_3_0First);
        abi_version.add_import(HostFunc::PairingResolveIdentity);
        assert_eq!(abi_version.nearest(), NamedAbiVersion::V0_3_0Second);
    }

    #[test]
    fn timers_and_the_websocket_do_not_change_the_name() {
        let mut abi_version = NamedAbiVersion::V0_2_0.abi_version();
        abi_version.add_import(HostFunc::TimerSet);
        abi_version.add_export(GuestFunc::OnTimer);
        abi_version.add_import(HostFunc::SocketSend);
        abi_version.add_export(GuestFunc::OnSocketText);
        assert_eq!(abi_version.to_string(), "near:agent@0.2.0");
    }

    #[test]
    fn five_cases_end_with_tool_completed() {
        assert!(StatusCases::Five.contains(StatusType::ToolCompleted));
        assert!(!StatusCases::Five.contains(StatusType::ToolResult));
        assert!(StatusCases::Eleven.contains(StatusType::AuthCompleted));
    }
}

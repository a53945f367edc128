//! A log file of bounded size, with a bounded number of older ones beside it: `tinclaw.log`, `tinclaw.log.1`, and so on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use serde::Deserialize;

use crate::model::bounded;

/// What a log file may take.
/// Deserialises from fields at the top of `tinclaw.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileLimits {
    /// Bytes of each file; a longer line is a file of its own.
    #[serde(rename = "log_file_max_mb", deserialize_with = "bounded::megabytes::<_, 1, 1024>")]
    pub bytes: u64,
    /// How many files there are, with the present one: 1 or more.
    #[serde(rename = "log_files", deserialize_with = "bounded::count::<_, _, 1, 100>")]
    pub files: u32,
}

impl Default for FileLimits {
    fn default() -> Self {
        Self { bytes: 10 << 20, files: 5 }
    }
}

/// Writes to a file, and begins a new one when that is full. Each call of `write` is kept in one file.
pub struct RotatingFile {
    path: PathBuf,
    limits: FileLimits,
    file: File,
    written: u64,
    /// Lines that could not be written since the last one that could.
    lost: u64,
    /// Whether the file ends within a line.
    is_torn: bool,
    /// The line that says how many were lost.
    notice: Box<dyn Fn(u64) -> String + Send>,
}

impl RotatingFile {
    /// Opens a file, which may be there already. A new one is readable by its owner only.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn open(path: &Path, limits: FileLimits) -> io::Result<Self> {
        let file = open(path)?;
        let written = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            limits,
            file,
            written,
            lost: 0,
            is_torn: false,
            notice: Box::new(|_| String::new()),
        })
    }

    /// The same, with a line that says how many lines were lost, once there is room for it.
    pub fn with_notice(self, notice: Box<dyn Fn(u64) -> String + Send>) -> Self {
        Self { notice, ..self }
    }

    /// Writes all of it or nothing: half a line would be joined with the next one.
    fn write_whole(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut done = 0;
        while let Some(rest @ [_, ..]) = bytes.get(done..) {
            match self.file.write(rest) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) => return Err(self.take_back(done, io::ErrorKind::WriteZero.into())),
                Err(error) => return Err(self.take_back(done, error)),
                Ok(count) => done += count,
            }
        }
        self.written += bytes.len() as u64;
        self.is_torn = false;
        Ok(())
    }

    /// Removes the last bytes of the file, which are the beginning of a line without its end.
    fn take_back(&mut self, count: usize, error: io::Error) -> io::Error {
        let length = self.file.metadata().map(|metadata| metadata.len());
        let taken = length.and_then(|length| self.file.set_len(length.saturating_sub(count as u64)));
        self.is_torn |= count > 0 && taken.is_err();
        error
    }

    /// Whether a file could be opened. None is made.
    ///
    /// # Errors
    /// Why not.
    pub fn check(path: &Path) -> io::Result<()> {
        if path.as_os_str().is_empty() {
            return Err(io::Error::other("it has no name"));
        }
        match refuse_other(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            checked => {
                checked?;
                return OpenOptions::new().append(true).open(path).map(drop);
            }
        }
        if path.file_name().is_none() {
            return Err(io::Error::other("it has no name"));
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        rustix::fs::access(parent, Access::WRITE_OK | Access::EXEC_OK)
            .map_err(|error| io::Error::other(format!("{}: {}", parent.display(), io::Error::from(error))))
    }

    /// Where it writes first.
    fn older(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    /// Moves every file to the next number; the last one goes.
    fn rotate(&mut self) -> io::Result<()> {
        let last = self.limits.files.saturating_sub(1);
        for number in (1..last).rev() {
            match fs::rename(self.older(number), self.older(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if last == 0 {
            fs::remove_file(&self.path)?;
        } else {
            fs::rename(&self.path, self.older(1))?;
        }
        self.file = open(&self.path)?;
        Ok(())
    }
}

impl Write for RotatingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written > 0 && self.written + bytes.len() as u64 > self.limits.bytes {
            // A file that cannot be moved is written on; there is no other place to say so.
            let _ = self.rotate();
            self.written = 0;
        }
        let before = if self.is_torn { "\n" } else { "" };
        let notice = if self.lost > 0 { (self.notice)(self.lost) } else { String::new() };
        let result = match before.is_empty() && notice.is_empty() {
            true => self.write_whole(bytes),
            false => self.write_whole(&[before.as_bytes(), notice.as_bytes(), bytes].concat()),
        };
        match result {
            Ok(()) => self.lost = 0,
            Err(error) => {
                self.lost = self.lost.saturating_add(1);
                return Err(error);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    match refuse_other(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// Refuses what is neither a file nor a device, such as a pipe, at which a host would wait for a reader.
fn refuse_other(path: &Path) -> io::Result<()> {
    // `/dev/stderr` may be a pipe, which somebody reads.
    if path.starts_with("/dev") {
        return Ok(());
    }
    let kind = fs::metadata(path)?.file_type();
    match kind.is_file() || kind.is_char_device() {
        true => Ok(()),
        false if kind.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        false => Err(io::Error::other("it is not an ordinary file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::temp_dir::TempDir;

    /// Writes lines of four bytes and shows which lines are in which file, the newest file first.
    fn files_after(limits: FileLimits, lines: u32) -> Vec<String> {
        let directory = TempDir::new();
        let path = directory.join("a.log");
        let mut file = RotatingFile::open(&path, limits).unwrap();
        for line in 1..=lines {
            file.write_all(format!("{line:03}\n").as_bytes()).unwrap();
        }
        let names = ["a.log", "a.log.1", "a.log.2", "a.log.3"];
        let contents = names.iter().map_while(|name| fs::read_to_string(directory.join(name)).ok());
        contents.map(|text| text.replace('\n', " ").trim().to_owned()).collect()
    }

    #[test]
    fn a_file_takes_as_much_as_its_limit_and_the_next_line_begins_another() {
        for (bytes, files, lines, expected) in [
            (8, 3, 2, &["001 002"][..]),
            (8, 3, 3, &["003", "001 002"]),
            (7, 3, 2, &["002", "001"]),
            (8, 3, 6, &["005 006", "003 004", "001 002"]),
            (8, 3, 7, &["007", "005 006", "003 004"]),
            (8, 1, 3, &["003"]),
            (1, 2, 3, &["003", "002"]),
        ] {
            assert_eq!(files_after(FileLimits { bytes, files }, lines), expected, "{bytes} {files} {lines}");
        }
    }

    /// Lines that found a full disk were lost in silence, and half a line was joined with the first one after them.
    #[test]
    fn lines_that_find_no_room_are_counted_and_leave_nothing_half() {
        let directory = TempDir::new();
        let path = directory.join("a.log");
        let mut file = RotatingFile::open(&path, FileLimits::default())
            .unwrap()
            .with_notice(Box::new(|lost| format!("{lost} lost\n")));
        file.write_all(b"one\n").unwrap();
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let room = std::mem::replace(&mut file.file, full);
        assert!(file.write_all(b"two\n").is_err() && file.write_all(b"three\n").is_err());
        file.file = room;
        file.write_all(b"four\n").unwrap();
        file.write_all(b"five\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\n2 lost\nfour\nfive\n");
    }

    #[test]
    fn half_a_line_is_taken_back_or_ended() {
        let directory = TempDir::new();
        let path = directory.join("a.log");
        let mut file = RotatingFile::open(&path, FileLimits::default()).unwrap();
        file.write_all(b"one\n").unwrap();
        file.file.write_all(b"tw").unwrap();
        file.take_back(2, io::ErrorKind::StorageFull.into());
        assert!(!file.is_torn);
        file.file.write_all(b"thr").unwrap();
        // What cannot be taken back, as through this descriptor, is ended.
        let room = std::mem::replace(&mut file.file, File::open(&path).unwrap());
        file.take_back(3, io::ErrorKind::StorageFull.into());
        assert!(file.is_torn);
        file.file = room;
        file.write_all(b"four\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\nthr\nfour\n");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_found_without_making_one() {
        let directory = TempDir::new();
        directory.write("there.log", "before\n");
        let rows =
            [("there.log", true), ("new.log", true), ("no/such.log", false), ("", false), ("..", false)];
        for (name, is_good) in rows {
            let path = if name.is_empty() { PathBuf::new() } else { directory.join(name) };
            assert_eq!(RotatingFile::check(&path).is_ok(), is_good, "{name}");
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        let pipe = directory.join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(RotatingFile::check(&pipe).is_err());
        assert!(RotatingFile::open(&pipe, FileLimits::default()).is_err());
    }

    #[test]
    fn a_file_from_before_is_continued_and_counts() {
        let directory = TempDir::new();
        let path = directory.write("a.log", "before\n");
        let limits = FileLimits { bytes: 10, files: 2 };
        RotatingFile::open(&path, limits).unwrap().write_all(b"12\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "before\n12\n");
        RotatingFile::open(&path, limits).unwrap().write_all(b"3\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "3\n");
    }
}

//! The access log: a line for each request, in the format of Amazon's server access logs.
//!
//! A thread of its own writes the lines. A request never waits for it: what it cannot take up is counted and lost. When the
//! file is moved away, as logrotate does, the next lines go to a new one of the name.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Lines that wait for the thread.
const WAITING: usize = 16 << 10;
/// What stands where there is nothing.
const ABSENT: &str = "-";

/// A request and its answer, as the log tells them. Texts are as they came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Entry {
    pub(crate) owner: Option<String>,
    pub(crate) bucket: Option<String>,
    /// Seconds since 1970.
    pub(crate) at: i64,
    pub(crate) address: String,
    pub(crate) requester: Option<String>,
    pub(crate) request_id: String,
    pub(crate) operation: String,
    pub(crate) key: Option<String>,
    /// Method, path and query without what signs it, version.
    pub(crate) request: String,
    pub(crate) status: u16,
    pub(crate) error: Option<String>,
    pub(crate) sent: u64,
    pub(crate) object_size: Option<u64>,
    pub(crate) total: Duration,
    /// Until the head of the answer was ready.
    pub(crate) turn_around: Duration,
    pub(crate) referer: Option<String>,
    pub(crate) agent: Option<String>,
    pub(crate) version_id: Option<String>,
    pub(crate) signature: Option<&'static str>,
    pub(crate) cipher: Option<String>,
    pub(crate) authentication: Option<&'static str>,
    pub(crate) host: Option<String>,
    pub(crate) tls: Option<String>,
}

impl Entry {
    /// The fields in the order of Amazon's format.
    pub(crate) fn line(&self) -> String {
        let plain = |text: Option<&str>| text.filter(|text| !text.is_empty()).map_or(ABSENT.to_owned(), word);
        let quoted = |text: Option<&str>| match text {
            Some(text) if !text.is_empty() => format!("\"{}\"", inside_quotes(text)),
            Some(_) | None => ABSENT.to_owned(),
        };
        let number =
            |number: Option<u64>| number.filter(|number| *number > 0).map_or(ABSENT.to_owned(), |n| n.to_string());
        let fields = [
            plain(self.owner.as_deref()),
            plain(self.bucket.as_deref()),
            format!("[{}]", time(self.at)),
            plain(Some(&self.address)),
            plain(self.requester.as_deref()),
            plain(Some(&self.request_id)),
            plain(Some(&self.operation)),
            plain(self.key.as_deref()),
            quoted(Some(&self.request)),
            self.status.to_string(),
            plain(self.error.as_deref()),
            number(Some(self.sent)),
            number(self.object_size),
            self.total.as_millis().to_string(),
            self.turn_around.as_millis().to_string(),
            quoted(self.referer.as_deref()),
            quoted(self.agent.as_deref()),
            plain(self.version_id.as_deref()),
            // The host's own id, which has no meaning here.
            ABSENT.to_owned(),
            plain(self.signature),
            plain(self.cipher.as_deref()),
            plain(self.authentication),
            plain(self.host.as_deref()),
            plain(self.tls.as_deref()),
            // Access point, and whether an access control list decided.
            ABSENT.to_owned(),
            ABSENT.to_owned(),
        ];
        fields.join(" ")
    }
}

/// A text without spaces, quotes and control characters, which are written as in URLs: no client writes lines of its own
/// into the log.
fn word(text: &str) -> String {
    escaped(text, |byte| byte.is_ascii_graphic() && byte != b'"')
}

fn inside_quotes(text: &str) -> String {
    escaped(text, |byte| (byte.is_ascii_graphic() || byte == b' ') && byte != b'"')
}

fn escaped(text: &str, stays: impl Fn(u8) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if stays(byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// `06/Feb/2019:00:00:38 +0000`
fn time(at: i64) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let at = time::OffsetDateTime::from_unix_timestamp(at).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let month = MONTHS[usize::from(u8::from(at.month())) - 1];
    let (hour, minute, second) = at.to_hms();
    format!("{:02}/{month}/{}:{hour:02}:{minute:02}:{second:02} +0000", at.day(), at.year())
}

/// Writes entries to a file. Dropped, it writes what waits, and ends.
#[derive(Debug)]
pub(crate) struct AccessLog {
    lines: Option<SyncSender<String>>,
    thread: Option<JoinHandle<()>>,
}

impl AccessLog {
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        let file = Target::open(path)?;
        let (lines, receiver) = sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("s3-access-log".to_owned());
        let thread = thread.spawn(move || write(file, &receiver))?;
        Ok(Self { lines: Some(lines), thread: Some(thread) })
    }

    /// False if there was no room for the line.
    pub(crate) fn write(&self, entry: &Entry) -> bool {
        let mut line = entry.line();
        line.push('\n');
        self.lines.as_ref().is_some_and(|lines| lines.try_send(line).is_ok())
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.lines.take();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported.
            thread.join().ok();
        }
    }
}

struct Target {
    path: PathBuf,
    file: File,
}

impl Target {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = open(&path)?;
        Ok(Self { path, file })
    }

    /// Opens the file anew if another is at its name by now, or none.
    fn follow(&mut self) -> io::Result<()> {
        let own = self.file.metadata()?;
        let same = match std::fs::metadata(&self.path) {
            Ok(there) => (there.dev(), there.ino()) == (own.dev(), own.ino()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if !same {
            self.file = open(&self.path)?;
        }
        Ok(())
    }
}

/// Who asked for what is for administrators' eyes.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

fn write(mut target: Target, lines: &Receiver<String>) {
    while let Ok(first) = lines.recv() {
        let mut batch = first;
        batch.extend(lines.try_iter().take(WAITING));
        if let Err(error) = target.follow().and_then(|()| target.file.write_all(batch.as_bytes())) {
            tracing::error!(path = %target.path.display(), %error, "lines of the access log are lost");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            owner: Some("1000".to_owned()),
            bucket: Some("photos".to_owned()),
            at: 1_549_411_238,
            address: "192.0.2.3".to_owned(),
            requester: Some("1001".to_owned()),
            request_id: "3E57427F3EXAMPLE".to_owned(),
            operation: "REST.GET.OBJECT".to_owned(),
            key: Some("a b\"\n.jpg".to_owned()),
            request: "GET /photos/a%20b HTTP/1.1".to_owned(),
            status: 404,
            error: Some("NoSuchKey".to_owned()),
            sent: 113,
            object_size: None,
            total: Duration::from_millis(7),
            turn_around: Duration::from_micros(5900),
            referer: None,
            agent: Some("S3Console/0.4 \"x\"".to_owned()),
            version_id: None,
            signature: Some("SigV4"),
            cipher: Some("TLS13_AES_128_GCM_SHA256".to_owned()),
            authentication: Some("AuthHeader"),
            host: Some("photos.example.com".to_owned()),
            tls: Some("TLSv1.3".to_owned()),
        }
    }

    #[test]
    fn a_line_has_the_fields_of_the_format_in_their_order() {
        let line = "1000 photos [06/Feb/2019:00:00:38 +0000] 192.0.2.3 1001 3E57427F3EXAMPLE REST.GET.OBJECT a%20b%22%0A.jpg \
                    \"GET /photos/a%20b HTTP/1.1\" 404 NoSuchKey 113 - 7 5 - \"S3Console/0.4 %22x%22\" - - SigV4 \
                    TLS13_AES_128_GCM_SHA256 AuthHeader photos.example.com TLSv1.3 - -";
        assert_eq!(entry().line(), line);
        let nothing = Entry { status: 200, ..Entry::default() };
        assert_eq!(nothing.line(), "- - [01/Jan/1970:00:00:00 +0000] - - - - - - 200 - - - 0 0 - - - - - - - - - - -");
    }

    #[test]
    fn a_log_that_was_moved_away_goes_on_in_a_new_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, moved) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
        let log = AccessLog::open(path.clone()).expect("opened");
        assert!(log.write(&entry()));
        drop(log);
        let log = AccessLog::open(path.clone()).expect("opened again");
        std::fs::rename(&path, &moved).expect("moved");
        assert!(log.write(&Entry { status: 200, ..entry() }));
        drop(log);
        let lines = |path: &Path| std::fs::read_to_string(path).expect("there").lines().count();
        assert_eq!([lines(&moved), lines(&path)], [1, 1]);
        assert!(AccessLog::open(dir.path().join("no/such/dir")).is_err());
    }
}

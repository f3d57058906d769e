//! What all pages have in common, and how things are said on them.

use std::time::Duration;

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};
use client::health::Health;
use types::{ByteSize, Timestamp};

use super::session::Session;

/// The frame around a page.
pub(super) struct Frame {
    pub(super) title: String,
    /// Which of the tabs it belongs to.
    pub(super) tab: &'static str,
    pub(super) user: Option<Who>,
}

pub(super) struct Who {
    pub(super) uid: u32,
    pub(super) access_key: String,
    pub(super) form_token: String,
    pub(super) superuser: bool,
}

impl Frame {
    pub(super) fn new(title: impl Into<String>, tab: &'static str, session: &Session) -> Self {
        let Session { user, access_key, form_token, superuser, .. } = session;
        let (access_key, form_token) = (access_key.clone(), form_token.clone());
        let user = Some(Who { uid: user.uid, access_key, form_token, superuser: *superuser });
        Self { title: title.into(), tab, user }
    }

    /// Of a page for whoever is not signed in.
    pub(super) fn outside(title: impl Into<String>) -> Self {
        Self { title: title.into(), tab: "", user: None }
    }

    /// A tab of this name, for the attribute of its link.
    pub(super) fn is(&self, tab: &str) -> bool {
        self.tab == tab
    }

    pub(super) fn form_token(&self) -> &str {
        self.user.as_ref().map_or("", |user| user.form_token.as_str())
    }
}

pub(super) fn render(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => (status, Html(text)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

pub(super) fn ok(template: &impl Template) -> Response {
    render(StatusCode::OK, template)
}

/// The style of a word.
pub(super) const fn tone(health: Health) -> &'static str {
    match health {
        Health::Healthy => "good",
        Health::Degraded => "warn",
        Health::Unavailable => "bad",
    }
}

pub(super) fn size(bytes: u64) -> String {
    ByteSize::new(bytes).human()
}

/// Of a whole, between 0 and 100.
pub(super) fn percent(part: u64, whole: u64) -> u64 {
    if whole == 0 { 0 } else { u64::try_from(u128::from(part) * 100 / u128::from(whole)).unwrap_or(100).min(100) }
}

/// `3 s`, `5 min`, `2 h`, `3 days`
pub(super) fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0 => "now".to_owned(),
        1..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => types::count(seconds / 86_400, "day", "days"),
    }
}

/// `2026-05-14 09:30:21 UTC`
pub(super) fn moment(time: Timestamp) -> String {
    let at = std::time::UNIX_EPOCH + Duration::from_nanos(time.nanos());
    let text = humantime::format_rfc3339_seconds(at).to_string();
    text.replace('T', " ").replace('Z', " UTC")
}

/// `rwxr-x---`
pub(super) fn mode(mode: u32) -> String {
    let special = [(0o4000, 2, 's', 'S'), (0o2000, 5, 's', 'S'), (0o1000, 8, 't', 'T')];
    let mut text: Vec<char> =
        (0..9).map(|at| if mode & (0o400 >> at) == 0 { '-' } else { ['r', 'w', 'x'][at % 3] }).collect();
    for (bit, at, with, without) in special {
        if mode & bit != 0 {
            text[at] = if text[at] == 'x' { with } else { without };
        }
    }
    text.into_iter().collect()
}

/// A name for people: bytes that are no text, and letters that would be obeyed rather than shown, are written out. That it
/// is no markup is the templates' business.
pub(super) fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            if letter.is_control() || is_invisible(letter) {
                text.extend(letter.escape_unicode());
            } else {
                text.push(letter);
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// Letters that turn the direction of a line, or take no room: a name must not look like another.
const fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_said_as_people_say_them() {
        assert_eq!([0, 50, 100, 200].map(|part| percent(part, 200)), [0, 25, 50, 100]);
        assert_eq!((percent(7, 0), percent(u64::MAX, u64::MAX)), (0, 100));
        let ages = [0, 5, 119, 120, 7_200, 86_400, 172_800].map(|seconds| age(Duration::from_secs(seconds)));
        assert_eq!(ages, ["now", "5 s", "119 s", "2 min", "2 h", "24 h", "2 days"]);
        assert_eq!([0o755, 0o4640, 0o1777, 0].map(mode), ["rwxr-xr-x", "rwSr-----", "rwxrwxrwt", "---------"]);
        assert_eq!(moment(Timestamp::from_nanos(1_500_000_000_000_000_000)), "2017-07-14 02:40:00 UTC");
    }

    #[test]
    fn a_name_is_shown_whole_and_obeyed_by_nobody() {
        assert_eq!(shown(b"a\xff<b>\n"), "a\\xff<b>\\u{a}");
        assert_eq!(shown("gpj\u{202e}exe".as_bytes()), "gpj\\u{202e}exe");
        assert_eq!(shown("n\u{e9}".as_bytes()), "n\u{e9}");
    }
}

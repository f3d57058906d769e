//! Names in URLs: any bytes, percent-encoded.

use std::fmt::Write as _;

use types::Path;

fn encoded(bytes: &[u8], stays: impl Fn(u8) -> bool) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        if stays(*byte) {
            text.push(char::from(*byte));
        } else {
            write!(text, "%{byte:02X}").expect("writing to memory does not fail");
        }
    }
    text
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// For a query: slashes are encoded too.
pub(super) fn encode_query(bytes: &[u8]) -> String {
    encoded(bytes, is_plain)
}

/// A path as the end of a URL, without its first slash.
pub(super) fn encode(path: &Path) -> String {
    encoded(&path.to_bytes(), |byte| is_plain(byte) || byte == b'/').trim_start_matches('/').to_owned()
}

/// The bytes of a part of a URL; what is no encoding stands for itself.
pub(super) fn decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match (bytes[at], digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))) {
            (b'%', Some(digits)) => {
                decoded.push(u8::from_str_radix(digits, 16).expect("two hexadecimal digits"));
                at += 3;
            }
            (byte, _) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_survives_a_url() {
        for bytes in
            [&b"/a/b c"[..], b"/<script>alert(1)</script>", b"/\xff\xfe/%41", "/\u{e9}\u{20ac}?#&\"'".as_bytes()]
        {
            let path = Path::parse(bytes).expect("legal");
            let url = encode(&path);
            assert!(url.bytes().all(|byte| is_plain(byte) || b"%/".contains(&byte)), "{url}");
            assert_eq!(Path::parse(&[b"/", &decode(&url)[..]].concat()), Ok(path));
            assert_eq!(decode(&encode_query(bytes)), bytes);
        }
        assert_eq!(decode("%4%zz%41%"), b"%4%zzA%");
    }
}

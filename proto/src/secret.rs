//! Messages that hold secrets: what is shown of them.

use std::fmt;

use types::token;

use crate::{WireError, v1};

impl fmt::Debug for v1::Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.bytes.is_empty() { "Token(none)" } else { "Token(..)" })
    }
}

impl fmt::Debug for v1::TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl From<&token::Token> for v1::Token {
    fn from(token: &token::Token) -> Self {
        Self { bytes: token.as_bytes().to_vec() }
    }
}

/// A token as it came; none if there is none. Only datanodes can tell whether it is any good.
pub fn token(wire: Option<v1::Token>) -> token::Token {
    wire.map_or_else(token::Token::default, |wire| token::Token::from_bytes(&wire.bytes))
}

/// A key of block tokens.
pub fn token_key(wire: &v1::TokenKey) -> Result<token::Key, WireError> {
    let wrong = WireError { field: "TokenKey.secret", problem: "does not have 32 bytes" };
    let secret = wire.secret.as_slice().try_into().map_err(|_| wrong)?;
    Ok(token::Key::new(wire.id, &token::Secret::from_bytes(secret)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown_and_rubbish_is_no_key() {
        let key = v1::TokenKey { id: 3, secret: vec![7; 32] };
        let token = v1::Token { bytes: vec![7; 46] };
        assert_eq!(format!("{key:?} {token:?}"), "TokenKey { id: 3, .. } Token(..)");
        assert_eq!(token_key(&key).map(|key| key.id()).ok(), Some(3));
        assert!(token_key(&v1::TokenKey { secret: vec![7; 31], ..key }).is_err());
        assert_eq!(super::token(None), token::Token::default());
    }
}

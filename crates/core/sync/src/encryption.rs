//! Sealing what goes over a transport: ChaCha20-Poly1305 (RFC 8439) with a counter per direction.
//!
//! Each sealed message carries its counter, so that one that is lost, late or overtaken does not
//! disturb the others. The receiver refuses a counter that it has accepted before, or that lies
//! further back than a window remembers (RFC 6479).

use chacha20poly1305::ChaCha20Poly1305;
use chacha20poly1305::aead::{Aead, KeyInit};

/// A key that both ends know and nobody else.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedKey(pub [u8; 32]);

impl std::fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedKey(…)")
    }
}

/// Where both ends begin to count. Must be fresh for every use of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nonce(pub [u8; 12]);

/// Which end of a stream this is. The two directions never share a nonce.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The end that opened the stream.
    Opener,
    /// The end that accepted it.
    Accepter,
}

/// Why a message cannot be sealed or opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EncryptionError {
    /// Too short to be a sealed message.
    #[error("the message is too short to be sealed")]
    Truncated,
    /// Not sealed with this key and direction, or changed on the way.
    #[error("the message was not sealed by the other end")]
    Forged,
    /// Accepted before, or too old to tell.
    #[error("message {counter} was accepted before, or is too old to tell")]
    Replayed {
        /// Its counter.
        counter: u64,
    },
    /// The key has sealed as many messages as one may.
    #[error("the key is used up; agree on another")]
    Exhausted,
}

/// What one end needs to seal and to open. Without a key, messages pass as they are.
#[derive(Clone, Debug)]
pub struct EncryptionState {
    side: Side,
    key: Option<(SharedKey, Nonce)>,
    sent: u64,
    window: ReplayWindow,
}

const COUNTER_BYTES: usize = 8;
/// The authenticator of Poly1305.
const TAG_BYTES: usize = 16;

impl EncryptionState {
    /// Bytes by which a sealed message is longer than what it holds.
    pub const OVERHEAD: usize = COUNTER_BYTES + TAG_BYTES;

    /// A state without a key.
    pub const fn plain(side: Side) -> Self {
        Self { side, key: None, sent: 0, window: ReplayWindow::new() }
    }

    /// Seals from now on with this key, or not at all. Counting begins anew.
    pub fn set(&mut self, key: Option<(SharedKey, Nonce)>) {
        *self = Self { key, ..Self::plain(self.side) };
    }

    /// Whether messages are sealed.
    pub const fn is_on(&self) -> bool {
        self.key.is_some()
    }

    /// Seals one message.
    pub fn seal(&mut self, plain: &[u8]) -> Result<Vec<u8>, EncryptionError> {
        let Some((key, nonce)) = &self.key else { return Ok(plain.to_vec()) };
        let counter = self.sent;
        self.sent = counter.checked_add(1).ok_or(EncryptionError::Exhausted)?;
        let nonce = nonce_of(nonce, self.side, counter);
        let sealed = cipher(key).encrypt(&nonce.into(), plain).map_err(|_| EncryptionError::Exhausted)?;
        let mut out = counter.to_le_bytes().to_vec();
        out.extend(sealed);
        Ok(out)
    }

    /// Opens one message. Nothing is remembered of one that is refused.
    pub fn open(&mut self, sealed: &[u8]) -> Result<Vec<u8>, EncryptionError> {
        let Some((key, nonce)) = &self.key else { return Ok(sealed.to_vec()) };
        let (counter, body) = sealed.split_at_checked(COUNTER_BYTES).ok_or(EncryptionError::Truncated)?;
        let counter = u64::from_le_bytes(counter.try_into().map_err(|_| EncryptionError::Truncated)?);
        let theirs = match self.side {
            Side::Opener => Side::Accepter,
            Side::Accepter => Side::Opener,
        };
        let nonce = nonce_of(nonce, theirs, counter);
        let plain = cipher(key).decrypt(&nonce.into(), body).map_err(|_| EncryptionError::Forged)?;
        if !self.window.accept(counter) {
            return Err(EncryptionError::Replayed { counter });
        }
        Ok(plain)
    }
}

fn cipher(key: &SharedKey) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new(&key.0.into())
}

/// The base with the direction in its first bit and the counter in its last eight bytes.
fn nonce_of(base: &Nonce, side: Side, counter: u64) -> [u8; 12] {
    let mut nonce = base.0;
    if let Some((first, rest)) = nonce.split_first_mut() {
        *first ^= if side == Side::Opener { 0 } else { 0x80 };
        for (byte, count) in rest.iter_mut().skip(3).zip(counter.to_le_bytes()) {
            *byte ^= count;
        }
    }
    nonce
}

const WINDOW_WORDS: usize = 16;

/// Which of the latest counters were accepted.
#[derive(Clone, Debug)]
struct ReplayWindow {
    /// One past the highest accepted.
    next: u64,
    /// A bit for each counter, in a ring.
    seen: [u64; WINDOW_WORDS],
}

impl ReplayWindow {
    const BITS: u64 = 64 * WINDOW_WORDS as u64;

    const fn new() -> Self {
        Self { next: 0, seen: [0; WINDOW_WORDS] }
    }

    fn accept(&mut self, counter: u64) -> bool {
        if counter == u64::MAX || counter + Self::BITS < self.next {
            return false;
        }
        // Counters between the highest and this one have not come yet: forget what their bits held.
        for unseen in self.next.max(counter.saturating_sub(Self::BITS - 1))..counter {
            self.set(unseen, false);
        }
        let is_news = counter >= self.next || !self.get(counter);
        self.next = self.next.max(counter + 1);
        self.set(counter, true);
        is_news
    }

    fn get(&self, counter: u64) -> bool {
        let at = counter % Self::BITS;
        self.seen.get((at / 64) as usize).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    fn set(&mut self, counter: u64, on: bool) {
        let at = counter % Self::BITS;
        if let Some(word) = self.seen.get_mut((at / 64) as usize) {
            let bit = 1 << (at % 64);
            *word = if on { *word | bit } else { *word & !bit };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn pair() -> (EncryptionState, EncryptionState) {
        let key = Some((SharedKey([7; 32]), Nonce([9; 12])));
        let (mut a, mut b) = (EncryptionState::plain(Side::Opener), EncryptionState::plain(Side::Accepter));
        a.set(key.clone());
        b.set(key);
        (a, b)
    }

    proptest! {
        #[test]
        fn what_arrives_opens_once_in_any_order(order in vec(0usize..60, 0..200), extra in vec(any::<u8>(), 0..50)) {
            let (mut a, mut b) = pair();
            let sealed: Vec<Vec<u8>> = (0..60u8)
                .map(|n| a.seal(&[&[n], &extra[..]].concat()).unwrap())
                .collect();
            let mut opened = BTreeSet::new();
            for at in order {
                match b.open(&sealed[at]) {
                    Ok(plain) => {
                        prop_assert_eq!(plain[0] as usize, at);
                        prop_assert!(opened.insert(at), "opened twice");
                    }
                    Err(error) => {
                        prop_assert_eq!(error, EncryptionError::Replayed { counter: at as u64 });
                        prop_assert!(opened.contains(&at));
                    }
                }
            }
        }

        #[test]
        fn a_changed_byte_is_noticed_and_the_original_still_opens(at: usize, flip in 1u8..=255) {
            let (mut a, mut b) = pair();
            let sealed = a.seal(b"the truth").unwrap();
            prop_assert_eq!(sealed.len(), b"the truth".len() + EncryptionState::OVERHEAD);
            let mut forged = sealed.clone();
            let at = at % forged.len();
            forged[at] ^= flip;
            prop_assert_eq!(b.open(&forged), Err(EncryptionError::Forged));
            prop_assert_eq!(b.open(&sealed).unwrap(), b"the truth");
        }

        #[test]
        fn the_window_agrees_with_a_set_of_all_counters(steps in vec((0u64..3_000, any::<bool>()), 1..300)) {
            let (mut window, mut seen, mut highest) = (ReplayWindow::new(), BTreeSet::new(), 0);
            for (counter, _) in steps {
                let too_old = counter + ReplayWindow::BITS < highest;
                let expected = !too_old && !seen.contains(&counter);
                prop_assert_eq!(window.accept(counter), expected, "{}", counter);
                if expected {
                    seen.insert(counter);
                    highest = highest.max(counter + 1);
                }
            }
        }
    }

    #[test]
    fn the_two_directions_do_not_open_each_other() {
        let (mut a, mut b) = pair();
        let sealed = a.seal(b"hello").unwrap();
        assert_eq!(a.open(&sealed), Err(EncryptionError::Forged), "one's own message sent back");
        assert_eq!(b.open(&sealed).unwrap(), b"hello");
        assert_eq!(b.open(&[1, 2]), Err(EncryptionError::Truncated));
    }

    #[test]
    fn without_a_key_messages_pass_as_they_are() {
        let mut plain = EncryptionState::plain(Side::Opener);
        assert_eq!(plain.seal(b"x").unwrap(), b"x");
        assert!(!plain.is_on());
    }
}

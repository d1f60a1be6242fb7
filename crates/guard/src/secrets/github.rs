//! Tokens of GitHub. The last six digits of the short ones are the CRC-32 of the rest in base 62, so that no look-alike is taken for one.

use super::tokens::{alphanumeric, is_random, token};
use crate::look::{Look, is_word};

pub(super) const LOOKS: &[Look] = &[
    token("github_token", "ghp_", alphanumeric, (36, 36), is_checked),
    token("github_token", "gho_", alphanumeric, (36, 36), is_checked),
    token("github_token", "ghu_", alphanumeric, (36, 36), is_checked),
    token("github_token", "ghs_", alphanumeric, (36, 36), is_checked),
    token("github_token", "ghr_", alphanumeric, (36, 76), is_checked),
    token("github_token", "github_pat_", is_ascii_word, (82, 82), is_random),
];

const CHECK_DIGITS: usize = 6;
const BASE_62: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

fn is_ascii_word(c: char) -> bool {
    c.is_ascii() && is_word(c)
}

fn is_checked(rest: &str) -> bool {
    let Some((payload, digits)) = rest.len().checked_sub(CHECK_DIGITS).and_then(|at| rest.split_at_checked(at)) else {
        return false;
    };
    let value = digits.bytes().try_fold(0_u64, |value, digit| {
        let digit = BASE_62.iter().position(|&other| other == digit)?;
        Some(value * 62 + u64::try_from(digit).ok()?)
    });
    value == Some(u64::from(crc32(payload.as_bytes())))
}

/// CRC-32 as in ISO 3309. A few bytes now and then: no table is worth its place.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_digits_are_those_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }
}

//! Personal data. Where there are check digits, they must be right.

mod card;
mod email;
mod iban;
mod ip;
mod numbers;
mod phone;

use crate::look::Look;
use crate::spec::{Personal, PersonalKind};

/// Cards before telephone numbers: what could be both is the rarer one.
const ALL: &[PersonalKind] = &[
    PersonalKind::Email,
    PersonalKind::Iban,
    PersonalKind::Card,
    PersonalKind::UsSsn,
    PersonalKind::DeTaxId,
    PersonalKind::Ip,
    PersonalKind::Phone,
];

/// The looks of a rule.
pub(crate) fn looks(rule: &Personal) -> Vec<Look> {
    let is_chosen = |kind: &PersonalKind| rule.kinds.is_empty() || rule.kinds.contains(kind);
    let chosen = ALL.iter().filter(|kind| is_chosen(kind) && !rule.except.contains(kind));
    chosen.flat_map(|&kind| of_kind(kind)).copied().collect()
}

fn of_kind(kind: PersonalKind) -> &'static [Look] {
    match kind {
        PersonalKind::Email => &[email::LOOK],
        PersonalKind::Phone => &[phone::WITH_PLUS, phone::INTERNATIONAL, phone::AMERICAN, phone::WITH_BRACKET],
        PersonalKind::Iban => &[iban::LOOK],
        PersonalKind::Card => &[card::LOOK],
        PersonalKind::Ip => &[ip::V4, ip::V6],
        PersonalKind::UsSsn => &[numbers::US_SSN],
        PersonalKind::DeTaxId => &[numbers::DE_TAX_ID],
    }
}

#[cfg(test)]
mod tests;

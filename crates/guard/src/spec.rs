//! What a rule looks for, as the configuration says it. The comments become the descriptions of the configuration's schema.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// What a rule looks for: one of these.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Spec {
    /// Credentials: keys and tokens of well-known services, private keys, passwords.
    Secrets(Secrets),
    /// Personal data: e-mail addresses, telephone numbers, bank accounts, payment cards and the like.
    Personal(Personal),
    /// A regular expression.
    Pattern(Pattern),
    /// JSON that does not fit a JSON Schema.
    Schema(Schema),
    /// Text or JSON that is too large.
    Size(Size),
    /// Kinds of SQL statements.
    Sql(Sql),
    /// Instructions to the model that hide where none belong, as in the description of a tool.
    Poisoning(Poisoning),
}

/// Credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Secrets {
    /// Which kinds; all of them where none is named.
    pub kinds: Vec<SecretKind>,
    /// Which kinds not.
    pub except: Vec<SecretKind>,
}

/// A kind of credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretKind {
    /// Keys and task tokens of Portcullis itself.
    Portcullis,
    /// Access key ids of AWS, and secret access keys that stand beside their name.
    Aws,
    /// API keys and client secrets of Google Cloud.
    Gcp,
    /// Client secrets, storage and shared access keys of Azure.
    Azure,
    /// Tokens of GitHub; where they have check digits, those must be right.
    Github,
    /// Tokens of GitLab.
    Gitlab,
    /// Tokens and webhooks of Slack.
    Slack,
    /// Secret and restricted keys of Stripe.
    Stripe,
    /// API keys of OpenAI.
    Openai,
    /// API keys of Anthropic.
    Anthropic,
    /// Access tokens of npm.
    Npm,
    /// API tokens of PyPI.
    Pypi,
    /// Signed JSON Web Tokens.
    Jwt,
    /// Private keys in PEM.
    PrivateKey,
    /// Passwords in URLs, as `https://user:password@host`.
    UrlPassword,
    /// Values that stand beside a name like `password` or `api_key` and look random.
    Generic,
}

/// Personal data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Personal {
    /// Which kinds; all of them where none is named.
    pub kinds: Vec<PersonalKind>,
    /// Which kinds not.
    pub except: Vec<PersonalKind>,
}

/// A kind of personal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PersonalKind {
    /// E-mail addresses.
    Email,
    /// Telephone numbers: international ones with `+` or `00`, and those of North America.
    Phone,
    /// International bank account numbers; their check digits must be right.
    Iban,
    /// Numbers of payment cards; their check digit must be right and their beginning that of an issuer.
    Card,
    /// IP addresses, versions 4 and 6, other than those of this machine and unspecified ones.
    Ip,
    /// Social security numbers of the United States, written with hyphens.
    UsSsn,
    /// Tax identification numbers of Germany; their check digit must be right.
    DeTaxId,
}

/// A regular expression.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pattern {
    /// What it is called in records: a-z, 0-9 and `_`.
    pub name: String,
    /// The expression, in the syntax of the Rust crate `regex`: no back references and no look-around, so that it takes time linear in the text.
    pub regex: String,
    /// What stands in place of what was found; the name in capitals and brackets unless said. It must not be found itself.
    #[serde(default)]
    pub replacement: Option<String>,
    /// The longest text that it may find, in bytes; 256 unless said. So much of a stream is held back.
    #[serde(default)]
    pub longest: Option<u16>,
}

/// A JSON Schema.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    /// The schema itself, Draft 4 to 2020-12. References to other documents are errors: nothing is ever fetched.
    pub schema: Value,
}

/// Limits; those that are not named do not hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Size {
    /// The most bytes of a text, or of JSON written without spaces.
    pub bytes: Option<u64>,
    /// The most characters of a text, or of all strings in JSON together.
    pub characters: Option<u64>,
    /// The most tokens, estimated: four ASCII characters are one, every other character is one.
    pub tokens: Option<u64>,
    /// How deep arrays and objects of JSON may lie in one another; a plain value has depth 0.
    pub depth: Option<u64>,
    /// The most items of all arrays and members of all objects in JSON together.
    pub items: Option<u64>,
}

/// Kinds of SQL statements. Either `allow` or `forbid`; only `read` is allowed where neither is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sql {
    /// Where the SQL is in the arguments, as JSON pointers like `/query`: a string, or an array of them; at least one. Every other string is left alone. When there is none at any of them, that is found.
    pub arguments: Vec<String>,
    /// The database's dialect.
    pub dialect: Dialect,
    /// The classes that are allowed; all others are found. A statement of several classes needs all of them.
    pub allow: Vec<SqlClass>,
    /// The classes that are found; `unparsable` and `missing` always are.
    pub forbid: Vec<SqlClass>,
}

/// A dialect of SQL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// What most databases have in common.
    #[default]
    Generic,
    /// PostgreSQL.
    Postgresql,
    /// MySQL and MariaDB.
    Mysql,
    /// SQLite.
    Sqlite,
    /// Microsoft SQL Server.
    Mssql,
}

/// A class of SQL statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SqlClass {
    /// Reads: `SELECT`, `SHOW`, `EXPLAIN` and the like, without any function or clause that is known to have effects.
    Read,
    /// `INSERT`, `REPLACE`, `MERGE` with it, `COPY … FROM STDIN`.
    Insert,
    /// `UPDATE`, of certain rows or all. `SELECT … FOR UPDATE` reads.
    Update,
    /// `DELETE`, of certain rows or all.
    Delete,
    /// `UPDATE` of all rows: without `WHERE`, or with one that reads no column.
    UpdateWithoutWhere,
    /// `DELETE` of all rows: without `WHERE`, or with one that reads no column.
    DeleteWithoutWhere,
    /// `DROP` of anything.
    Drop,
    /// `TRUNCATE`.
    Truncate,
    /// `ALTER`, `RENAME`, comments on objects.
    Alter,
    /// `CREATE` of anything, `SELECT … INTO` a table.
    Create,
    /// `GRANT`, `REVOKE` and what changes users and roles.
    Grant,
    /// `CALL`, `EXECUTE`, `DO`: code whose effects can't be seen.
    Call,
    /// Transactions: `BEGIN`, `COMMIT`, `ROLLBACK`, `SAVEPOINT`.
    Transaction,
    /// Settings: `SET`, `PRAGMA`, `USE`.
    Setting,
    /// Files, programs, other databases and servers: `COPY … TO`, `INTO OUTFILE`, `LOAD DATA`, `ATTACH`, and functions that reach them.
    Outside,
    /// Whatever else the parser knows.
    Other,
    /// What can't be parsed, or is nested too deep or too long to be.
    Unparsable,
    /// No SQL at any of the places that are named.
    Missing,
}

/// Instructions that hide.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Poisoning {
    /// Names of other tools and servers, which a description has no business to mention. Short and common words find too much.
    pub others: Vec<String>,
}

//! What a statement does with everything inside of it: subqueries, expressions of `WITH` that write, functions that are known to have effects.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the parser knows more than a hundred kinds of statements; `classes` names the rest"
)]

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    CopyTarget, Expr, ObjectName, OnConflictAction, OnInsert, Select, Statement, TableFactor, Visit, Visitor,
};

use super::classes;
use crate::spec::SqlClass;

/// Adds what a statement does.
pub(super) fn of(statement: &Statement, found: &mut BTreeSet<SqlClass>) {
    if let Statement::Explain { analyze: false, options, .. } = statement {
        let is_run = options.iter().flatten().any(|option| option.name.value.eq_ignore_ascii_case("analyze"));
        if !is_run {
            found.insert(SqlClass::Read);
            return;
        }
    }
    // It never breaks off.
    let _: ControlFlow<()> = statement.visit(&mut Effects { found });
}

struct Effects<'f> {
    found: &'f mut BTreeSet<SqlClass>,
}

impl Visitor for Effects<'_> {
    type Break = ();

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        match statement {
            Statement::Copy { to, target, .. } => {
                let is_outside = matches!(target, CopyTarget::File { .. } | CopyTarget::Program { .. });
                self.found.insert(if *to { SqlClass::Read } else { SqlClass::Insert });
                if is_outside {
                    self.found.insert(SqlClass::Outside);
                }
            }
            // What it inserts, updates and deletes is inside of clauses.
            Statement::Merge(_) => {
                self.found.extend([SqlClass::Insert, SqlClass::Update, SqlClass::Delete]);
            }
            statement => {
                self.found.insert(classes::of(statement));
            }
        }
        self.rows(statement);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        if select.into.is_some() {
            self.found.insert(SqlClass::Create);
        }
        if !select.from.is_empty() {
            self.found.insert(SqlClass::Read);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        self.found.extend(of_function(relation));
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Function { name, .. } = table {
            self.found.extend(of_function(name));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expression {
            self.found.extend(of_function(&function.name));
        }
        ControlFlow::Continue(())
    }
}

impl Effects<'_> {
    /// Which rows it is about.
    fn rows(&mut self, statement: &Statement) {
        match statement {
            Statement::Update(update) if chooses_none(update.selection.as_ref()) => {
                self.found.insert(SqlClass::UpdateWithoutWhere);
            }
            Statement::Delete(delete) if chooses_none(delete.selection.as_ref()) => {
                self.found.insert(SqlClass::DeleteWithoutWhere);
            }
            Statement::Insert(insert) => match &insert.on {
                Some(OnInsert::OnConflict(conflict)) if matches!(conflict.action, OnConflictAction::DoNothing) => {}
                Some(_) => {
                    self.found.insert(SqlClass::Update);
                }
                None => {}
            },
            _ => {}
        }
    }
}

/// Whether a condition reads no column, and so is the same for all rows.
fn chooses_none(condition: Option<&Expr>) -> bool {
    struct Columns;
    impl Visitor for Columns {
        type Break = ();

        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            if matches!(expression, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        }
    }
    condition.is_none_or(|condition| condition.visit(&mut Columns).is_continue())
}

/// Functions that are known to do more than to compute, by the last part of their name.
fn of_function(name: &ObjectName) -> Option<SqlClass> {
    let name = name.0.last()?.as_ident()?.value.to_ascii_lowercase();
    let begins = |beginnings: &[&str]| beginnings.iter().any(|beginning| name.starts_with(beginning));
    if OUTSIDE.contains(&name.as_str())
        || begins(&["dblink", "pg_read_", "pg_ls_", "pg_file_", "lo_im", "lo_ex", "http_"])
    {
        Some(SqlClass::Outside)
    } else if CALLS.contains(&name.as_str())
        || begins(&["pg_advisory_", "pg_try_advisory_", "pg_logical_", "xp_", "sp_"])
    {
        Some(SqlClass::Call)
    } else {
        None
    }
}

const OUTSIDE: &[&str] = &[
    "load_file",
    "load_extension",
    "readfile",
    "writefile",
    "edit",
    "fts3_tokenizer",
    "sys_exec",
    "sys_eval",
    "pg_stat_file",
    "pg_execute_server_program",
    "xp_cmdshell",
    "xp_dirtree",
    "openrowset",
    "openquery",
    "opendatasource",
    "file_read",
];

/// Some of them run SQL that is a string to the parser.
const CALLS: &[&str] = &[
    "query_to_xml",
    "query_to_xml_and_xmlschema",
    "query_to_xmlschema",
    "cursor_to_xml",
    "set_config",
    "setval",
    "nextval",
    "pg_terminate_backend",
    "pg_cancel_backend",
    "pg_reload_conf",
    "pg_rotate_logfile",
    "pg_switch_wal",
    "pg_create_restore_point",
    "pg_notify",
    "pg_sleep",
    "pg_promote",
    "lo_unlink",
    "lo_put",
    "lo_from_bytea",
    "lo_create",
    "lowrite",
    "ts_stat",
    "sleep",
    "benchmark",
    "get_lock",
    "release_lock",
    "release_all_locks",
    "last_insert_id",
    "crosstab",
    "pg_import_system_collations",
];

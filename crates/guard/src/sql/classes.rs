//! What the classes are called, and the class of every kind of statement.

use sqlparser::ast::Statement;

use crate::spec::SqlClass;

/// The kind of a finding and its reason.
pub(super) fn words(class: SqlClass) -> (&'static str, &'static str) {
    match class {
        SqlClass::Read => ("sql_read", "it reads"),
        SqlClass::Insert => ("sql_insert", "it inserts rows"),
        SqlClass::Update => ("sql_update", "it updates rows"),
        SqlClass::Delete => ("sql_delete", "it deletes rows"),
        SqlClass::UpdateWithoutWhere => {
            ("sql_update_without_where", "it updates all rows: no `WHERE` chooses among them")
        }
        SqlClass::DeleteWithoutWhere => {
            ("sql_delete_without_where", "it deletes all rows: no `WHERE` chooses among them")
        }
        SqlClass::Drop => ("sql_drop", "it drops something"),
        SqlClass::Truncate => ("sql_truncate", "it empties a table"),
        SqlClass::Alter => ("sql_alter", "it changes how something is defined"),
        SqlClass::Create => ("sql_create", "it creates something"),
        SqlClass::Grant => ("sql_grant", "it changes who may do what"),
        SqlClass::Call => ("sql_call", "it runs code whose effects can't be seen"),
        SqlClass::Transaction => ("sql_transaction", "it begins or ends a transaction"),
        SqlClass::Setting => ("sql_setting", "it changes a setting"),
        SqlClass::Outside => ("sql_outside", "it reaches files, programs or other servers"),
        SqlClass::Other => ("sql_other", "it does something that has no class of its own"),
        SqlClass::Unparsable => ("sql_unparsable", "it can't be parsed, so nobody knows what it does"),
        SqlClass::Missing => ("sql_missing", "there is no SQL where it should be"),
    }
}

/// What a statement does by itself, without what is inside of it.
pub(super) fn of(statement: &Statement) -> SqlClass {
    let classes = [
        (SqlClass::Read, reads as fn(&Statement) -> bool),
        (SqlClass::Insert, |it| matches!(it, Statement::Insert(_))),
        (SqlClass::Update, |it| matches!(it, Statement::Update(_))),
        (SqlClass::Delete, |it| matches!(it, Statement::Delete(_))),
        (SqlClass::Truncate, |it| matches!(it, Statement::Truncate(_))),
        (SqlClass::Drop, drops),
        (SqlClass::Create, creates),
        (SqlClass::Alter, alters),
        (SqlClass::Grant, grants),
        (SqlClass::Call, calls),
        (SqlClass::Transaction, transacts),
        (SqlClass::Setting, sets),
        (SqlClass::Outside, reaches_outside),
    ];
    classes.into_iter().find(|(_, is_one)| is_one(statement)).map_or(SqlClass::Other, |(class, _)| class)
}

fn reads(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::Query(_)
            | Statement::Explain { .. }
            | Statement::ExplainTable { .. }
            | Statement::ShowFunctions { .. }
            | Statement::ShowVariable { .. }
            | Statement::ShowStatus { .. }
            | Statement::ShowVariables { .. }
            | Statement::ShowCreate { .. }
            | Statement::ShowColumns { .. }
            | Statement::ShowCatalogs { .. }
            | Statement::ShowDatabases { .. }
            | Statement::ShowSchemas { .. }
            | Statement::ShowTables { .. }
            | Statement::ShowViews { .. }
            | Statement::ShowCollation { .. }
            | Statement::ShowCharset(_)
    )
}

fn drops(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::Drop { .. }
            | Statement::DropFunction(_)
            | Statement::DropDomain(_)
            | Statement::DropProcedure { .. }
            | Statement::DropSecret { .. }
            | Statement::DropPolicy(_)
            | Statement::DropConnector { .. }
            | Statement::DropExtension(_)
            | Statement::DropOperator(_)
            | Statement::DropOperatorFamily(_)
            | Statement::DropOperatorClass(_)
            | Statement::DropTrigger(_)
    )
}

fn creates(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::CreateView(_)
            | Statement::CreateTable(_)
            | Statement::CreateVirtualTable { .. }
            | Statement::CreateIndex(_)
            | Statement::CreatePolicy(_)
            | Statement::CreateOperator(_)
            | Statement::CreateOperatorFamily(_)
            | Statement::CreateOperatorClass(_)
            | Statement::CreateExtension(_)
            | Statement::CreateCollation(_)
            | Statement::CreateSchema { .. }
            | Statement::CreateDatabase { .. }
            | Statement::CreateFunction(_)
            | Statement::CreateTrigger(_)
            | Statement::CreateProcedure { .. }
            | Statement::CreateMacro { .. }
            | Statement::CreateSequence { .. }
            | Statement::CreateDomain(_)
            | Statement::CreateType { .. }
            | Statement::CreateTextSearch(_)
    )
}

fn alters(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::AlterTable(_)
            | Statement::AlterSchema(_)
            | Statement::AlterIndex { .. }
            | Statement::AlterView { .. }
            | Statement::AlterFunction(_)
            | Statement::AlterType(_)
            | Statement::AlterCollation(_)
            | Statement::AlterOperator(_)
            | Statement::AlterOperatorFamily(_)
            | Statement::AlterOperatorClass(_)
            | Statement::AlterTextSearch(_)
            | Statement::AlterPolicy(_)
            | Statement::RenameTable(_)
            | Statement::Comment { .. }
    )
}

fn grants(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::Grant(_)
            | Statement::Deny(_)
            | Statement::Revoke(_)
            | Statement::CreateRole(_)
            | Statement::AlterRole { .. }
            | Statement::CreateUser(_)
            | Statement::AlterUser(_)
    )
}

fn calls(statement: &Statement) -> bool {
    matches!(statement, Statement::Call(_) | Statement::Execute { .. } | Statement::Prepare { .. })
}

fn transacts(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::StartTransaction { .. }
            | Statement::Commit { .. }
            | Statement::Rollback { .. }
            | Statement::Savepoint { .. }
            | Statement::ReleaseSavepoint { .. }
    )
}

fn sets(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::Set(_)
            | Statement::Reset(_)
            | Statement::Pragma { .. }
            | Statement::Use(_)
            | Statement::Discard { .. }
    )
}

fn reaches_outside(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::LoadData { .. }
            | Statement::Load { .. }
            | Statement::Install { .. }
            | Statement::Directory { .. }
            | Statement::AttachDatabase { .. }
            | Statement::AttachDuckDBDatabase { .. }
            | Statement::DetachDuckDBDatabase { .. }
            | Statement::Unload { .. }
            | Statement::ExportData(_)
            | Statement::CopyIntoSnowflake { .. }
            | Statement::CreateServer(_)
    )
}

//! The list of all cases.

/// Makes every case a test of the module that this stands in. `$subject` is what a store lies in, or none where the machine has no such store; its `open(clock)`
/// opens the engine.
macro_rules! conforms {
    ($subject:expr) => {
        $crate::journal::conformance::suite::conforms! { $subject;
            keeping::what_was_acknowledged_is_there_after_reopening
            keeping::opening_changes_nothing
            keeping::calls_in_flight_are_settled_after_reopening
            keeping::keys_are_those_of_the_last_durable_entry
            keeping::nothing_is_taken_after_the_end
            deciding::commands_are_decided_in_the_order_in_which_they_came
            deciding::concurrent_commands_make_streams_without_gaps
            deciding::of_many_writers_that_expect_the_same_version_one_wins
            deciding::concurrent_calls_never_hold_more_than_is_granted
            deciding::a_clock_that_is_turned_back_does_not_turn_the_journal_back
            reading::entries_are_read_from_any_place_in_order
            reading::bodies_come_back_exact_and_only_for_their_own_stream
            reading::what_is_not_there_is_not_found
        }
    };
    ($subject:expr; $($file:ident::$case:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $case() {
            let Some(subject) = $subject else { return };
            $crate::journal::conformance::$file::$case(&|clock| subject.open(clock)).await;
        }
    )*};
}
pub(crate) use conforms;

//! Who is trusted with what, and which test shows it.
//!
//! Nothing here is code: a table for each of those who come near a fleet, with what they can do,
//! what they cannot, and the test behind each line. A test of the source looks that every test
//! named here exists. Limits by their numbers are in the README; the [server](crate::server), the
//! [HTTP interface](crate::api), the [access file](crate::access) and the [agent](crate::agent)
//! tell how it is done.
//!
//! Two things hold everywhere. **Nothing is encrypted**: whoever can read or change what goes over
//! the network between client and server, or between a command and the HTTP interface, has the
//! tokens that pass there. And **whoever is trusted with a process is trusted with its memory**:
//! no part of fleetcron guards itself against another part of the same process.
//!
//! # A stranger on the network
//!
//! Has a connection and no token. Trusted with nothing.
//!
//! | what | shown by |
//! | --- | --- |
//! | reaches a server only through a proxy before its loopback address, or where it was told to listen in the open | `tests/bad_usage.rs` `servers_that_cannot_start_say_why` |
//! | learns from the HTTP interface that it needs a token, and not even whether a path is there | `tests/bad_requests.rs` `nothing_is_answered_without_the_token` |
//! | is not told whether it is the client or the token that is wrong | `tests/connections/raw.rs` `whoever_is_not_let_in_is_told_and_told_no_more_than_needed` |
//! | guesses tokens no faster than clients are let in, each refusal without a question to the registry once that rate is reached | `tests/connections/admission.rs` `those_above_the_rate_are_sent_away_unasked_each_for_its_own_time` |
//! | learns nothing from how long a comparison takes: hashes are compared, in constant time, and all of them | `src/api/auth.rs` `only_known_tokens_are_allowed` |
//! | holds a connection for 5 s without a hello, and takes no place from those who have said one | `tests/connections/raw.rs` `ten_thousand_silent_connections_disturb_nobody` |
//! | is refused unheard where too many are without a hello | `tests/connections/tcp.rs` `a_connection_beyond_those_without_a_hello_is_refused_unheard` |
//! | keeps nobody from answering by connecting ten thousand times, and costs bounded memory | `tests/bad_peers.rs` `ten_thousand_connects_without_a_hello_keep_nobody_from_answering` |
//! | ends its own connection alone, whatever bytes it sends | `tests/bad_peers.rs` `bad_peers_end_alone_told_and_logged_while_a_good_client_answers` |
//! | makes nothing be reserved for a length that it only announces | `src/wire/tests.rs` `the_length_is_checked_before_anything_else` |
//! | can stop those who listen in the open by more traffic than the machine takes: a firewall's affair | — |
//!
//! # A client with its token
//!
//! Trusted with the commands that are meant for it, their parameters, and the answers to them.
//!
//! | what | shown by |
//! | --- | --- |
//! | is let in by its own token alone, and by none once it is removed | `src/engine/tests/policies.rs` `only_the_right_token_lets_in`, `src/engine/tests/deliveries.rs` `a_removed_clients_token_is_gone` |
//! | answers for itself: what it says of a run that is not for it, or that it has ended, is acknowledged and changes nothing | `src/engine/tests/deliveries.rs` `a_client_answers_for_nobody_else` |
//! | says what it likes about its own commands: a client that lies about its results is believed | — |
//! | does not choose its groups, and its labels and facts count only as far as the server's owner trusts them | `tests/targets.rs` `what_agents_say_of_themselves_is_shown_and_not_trusted_by_itself` |
//! | that has another of the same id and token beside it loses its place to it, and does not fight | `tests/connections/pair.rs` `a_displaced_client_does_not_fight` |
//! | ends its connection by a frame that is too long, or not one, and no other | `tests/connections/raw.rs` `bad_frames_after_the_hello_end_that_connection_with_a_bye` |
//! | that does not read, or falls silent, is given up | `tests/connections/raw.rs` `a_client_that_does_not_read_is_ended`, `tests/connections/pair.rs` `a_server_gives_up_a_client_that_falls_silent` |
//! | floods with output in vain: what is above its rate is left out | `tests/connections/live.rs` `what_is_above_the_rate_is_left_out_and_the_connection_stays` |
//! | that stays away costs a bounded queue | `src/engine/tests/queue.rs` `a_full_queue_refuses_what_comes_and_says_so_also_after_a_restart` |
//! | reports facts of bounded number and length | `src/label/facts.rs` `what_is_too_much_or_not_allowed_is_told` |
//! | calls only the commands that the server's program has registered | `tests/connections/pair.rs` `clients_call_the_server_and_every_error_is_named` |
//!
//! # Who holds a token of the HTTP interface
//!
//! There is one kind: each opens everything. Names tell holders apart in the ledger, and give no
//! fewer rights. Trusted with all jobs, clients, results and the whole store, as a backup.
//!
//! | what | shown by |
//! | --- | --- |
//! | whatever it changes is in the ledger with its name and the time | `tests/history.rs` `everything_that_was_done_is_told_once_with_its_time_and_who_did_it` |
//! | runs on an agent what the agent's own list allows, and nothing else | `tests/agent_process.rs` `it_runs_what_its_list_allows_and_rejects_the_rest_by_name` |
//! | does not get a client's token back, once it was shown at its making: exports of a part have none, backups and whole exports their hashes | `src/store/exchange/tests.rs` `an_export_of_a_job_has_what_the_job_needs_and_no_token` |
//! | sends bodies and queries that are checked, field by field, and have limits | `tests/bad_requests.rs` `bodies_are_checked_field_by_field`, `tests/bad_requests.rs` `names_and_query_parameters_are_checked` |
//! | has bounded streams: their places are given back when they end | `src/api/stream.rs` `the_permit_is_free_once_the_stream_is_gone` |
//! | breaks no record by a bad import: the file is refused as a whole | `src/store/exchange/tests.rs` `a_file_that_is_not_whole_changes_nothing` |
//! | can fill the disk with jobs and runs, and the fleet with work, as far as the limits go | — |
//!
//! # The operator of the server
//!
//! Trusted with the machine: its files, its clock, its process. What the operator cannot do:
//!
//! | what | shown by |
//! | --- | --- |
//! | read a client's token: it is nowhere in the data directory | `tests/security.rs` `the_data_directory_has_no_clients_token_and_is_its_owners_alone` |
//! | run what an agent's list does not have, or with parameters that it does not allow | `tests/agent_exec.rs` `a_command_that_is_not_listed_is_rejected`, `src/agent/params.rs` `rejections_name_param_and_value` |
//! | start a second server on a store that is in use | `src/store/place.rs` `the_second_to_open_it_is_told_who_has_it` |
//! | lose what was acknowledged by killing the server | `tests/crash.rs` `what_was_acknowledged_survives_kills_and_nothing_runs_twice` |
//!
//! # The author of an agent's list
//!
//! Decides what the fleet can be told to do on that machine, and is trusted with it.
//!
//! | what | shown by |
//! | --- | --- |
//! | a parameter's value reaches the program as one argument, through no shell | `tests/agent_exec.rs` `values_reach_the_program_as_single_arguments` |
//! | a path parameter does not lead out of its root | `tests/agent_exec.rs` `paths_do_not_leave_their_root`, `src/agent/path.rs` `what_leads_out_is_refused` |
//! | a program gets the environment that the list gives it, and not the agent's | `tests/agent_exec.rs` `the_environment_is_what_the_list_says` |
//! | a program ends within its time, with all that it has started | `tests/agent_exec.rs` `the_time_limit_ends_the_whole_tree` |
//! | its output is kept up to a limit | `tests/agent_exec.rs` `output_beyond_the_limit_is_drained_and_counted` |
//! | a declared file that is a link out of its directory is not sent | `src/agent/artefact.rs` `links_that_lead_out_are_not_followed_and_pipes_not_waited_for` |
//!
//! # The author of a handler
//!
//! Code within the process of a client or a server: trusted with all of it. Against its faults:
//!
//! | what | shown by |
//! | --- | --- |
//! | a handler that panics ends its own command as failed, and nothing else | `src/handlers.rs` `errors_panics_and_bad_params_end_the_command_with_a_reason` |
//! | a result that is too long ends as failed, and the connection stays | `tests/connections/pair.rs` `a_response_that_is_too_long_ends_as_failed` |
//! | what a handler shows while it runs holds up neither heartbeats nor answers | `tests/connections/live.rs` `a_flood_holds_up_neither_heartbeats_nor_answers` |
//! | a hook that authenticates decides who has shown what; who is in the registry it does not decide | `src/engine/tests/policies.rs` `only_the_right_token_lets_in` |
//!
//! # Another user of the same machine
//!
//! Can see command lines, so tokens do not belong there. Cannot read:
//!
//! | what | shown by |
//! | --- | --- |
//! | the access file; one that others can read is refused | `src/access.rs` `the_file_is_private_and_keeps_its_token`, `src/access.rs` `a_file_that_others_can_read_is_refused` |
//! | a data directory that the server has made: one that was there keeps the mode it had | `tests/security.rs` `the_data_directory_has_no_clients_token_and_is_its_owners_alone` |
//! | a client's journal | `src/client/journal/tests/remembering.rs` `only_its_owner_can_read_it` |
//! | the token that an error about its file is about | `src/access.rs` `a_bad_file_is_told_without_its_token` |
//! | a token in a log, where a hello is shown | `src/wire/tests.rs` `a_token_is_not_shown` |
//!
//! # Who reads or changes the disk
//!
//! Reads everything but clients' tokens in the clear: definitions, parameters and results are not
//! encrypted. Changes are found where they are damage; checksums keep nobody out who can compute
//! them, and none is a signature.
//!
//! | what | shown by |
//! | --- | --- |
//! | whatever lies in a store, reading it ends in what was written or in an error that names the key, not in a panic | `src/fuzzing.rs` `every_kept_input_keeps_the_promises` |
//! | a record that breaks the rules of the layout is found and named by `store check` | `src/store/check/tests.rs` `a_value_that_cannot_be_read_is_named_whatever_its_kind` |
//! | a backup of which a bit has changed, or that was cut, is not restored | `src/store/backup/tests.rs` `a_bit_that_has_changed_anywhere_is_told_and_nothing_is_restored`, `src/store/backup/tests.rs` `a_file_that_is_cut_short_anywhere_is_told` |
//! | a journal's damaged record is skipped and told, and never read as another | `src/client/journal/tests/bytes.rs` `a_flipped_bit_costs_its_own_record_and_is_told` |
//!
//! # What threads share
//!
//! The engine is one thread's, and nothing of it is shared. Around it:
//!
//! | what | how it is kept whole | shown by |
//! | --- | --- | --- |
//! | the node's inbox, its loop and the store's thread | channels; who has sent something wakes the loop by `unpark`, whose token is kept while nobody waits; the loop looks again after 10 s whatever happens | `tests/node.rs` `many_callers_share_a_commit` |
//! | commits and their effects | the store's thread has one commit at a time, and effects are released by the loop when its end was told | `tests/node.rs` `nothing_is_answered_before_it_is_durable` |
//! | what is seen of running commands: the board, a delivery, those who watch | three kinds of locks, taken in that order; counts beside them change under a lock, and are read without one only to save taking it; a watcher is woken by `Notify`, which keeps one wake | `src/node/live/tests.rs` `a_watcher_that_is_behind_is_told_how_much_it_missed_and_others_are_not_held_up` |
//! | the notes of a backup | one lock, held for the whole of a commit | `src/store/backup/tests.rs` `a_backup_is_the_store_as_of_one_commit` |
//! | writers of sled and fjall | one lock each, held for a commit; readers take none | `src/store/memory.rs` `it_conforms`, `src/store/fjall/tests/mod.rs` `a_reader_sees_a_batch_as_a_whole` |
//! | how many clients were sent away, and who tells the log | atomic numbers alone, the only such: each order of steps is gone through by loom | `tests/loom/lib.rs` `each_of_them_is_told_exactly_once` |
//! | admission, told tokens, parsed cron patterns, the demonstration's clock | one lock each, held for a few steps without a wait | `src/schedule/shared.rs` `the_same_text_is_parsed_once_while_it_is_in_use` |
//! | a command's frame, encoded once for all its clients | `OnceLock` | `tests/connections/raw.rs` `commands_and_acks_that_are_ready_together_go_together_and_are_encoded_once` |
//! | requests, streams, connections, forecasts at a time | semaphores; a place is given back when what holds it is dropped | `src/api/stream.rs` `the_permit_is_free_once_the_stream_is_gone` |
//! | a client's journal and its own task | channels: who asks waits for the answer | `src/client/journal/tests/failures.rs` `commands_that_come_at_once_share_a_flush` |
//! | whether chores go on | one flag, which only ever goes up | — |
//!
//! A model checker for the parts behind locks would check the locks of the standard library and
//! tokio, which have such checks of their own; their orders are few enough to be read.

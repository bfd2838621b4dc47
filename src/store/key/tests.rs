//! Order in memory is order on disk, and a key gives back what it was made of.

use super::*;
use proptest::prelude::*;

fn serial(time: u64, low: u128) -> Serial {
    Serial::from_parts(Timestamp::from_millis(i64::try_from(time).unwrap()), low)
}

proptest! {
    #[test]
    fn order_in_memory_is_order_on_disk(
        a in (0_u64..1 << 48, 0_u128..1 << 80, any::<u32>(), any::<u16>()),
        b in (0_u64..1 << 48, 0_u128..1 << 80, any::<u32>(), any::<u16>()),
    ) {
        let (sa, sb) = (serial(a.0, a.1), serial(b.0, b.1));
        prop_assert_eq!(run(sa).cmp(&run(sb)), sa.cmp(&sb));
        prop_assert_eq!(open(sa, a.2).cmp(&open(sb, b.2)), (sa, a.2).cmp(&(sb, b.2)));
        prop_assert_eq!(
            page(sa, a.2, a.3).cmp(&page(sb, b.2, b.3)),
            (sa, a.2, a.3).cmp(&(sb, b.2, b.3))
        );
        prop_assert_eq!(
            result(sa, ClientNo(a.2), a.3).cmp(&result(sb, ClientNo(b.2), b.3)),
            (sa, a.2, a.3).cmp(&(sb, b.2, b.3))
        );
        prop_assert_eq!(client(ClientNo(a.2)).cmp(&client(ClientNo(b.2))), a.2.cmp(&b.2));
        let (ja, jb) = (JobId::from_bytes(sa.to_bytes()), JobId::from_bytes(sb.to_bytes()));
        prop_assert_eq!(
            revision(ja, a.2).cmp(&revision(jb, b.2)), (ja, a.2).cmp(&(jb, b.2))
        );
        let (na, nb) = (u64::from(a.2) << 20, u64::from(b.2) << 20);
        prop_assert_eq!(missed(ja, na).cmp(&missed(jb, nb)), (ja, na).cmp(&(jb, nb)));
        prop_assert_eq!(
            removal(sa.time(), jb).cmp(&removal(sb.time(), ja)),
            (sa.time(), jb).cmp(&(sb.time(), ja))
        );
        prop_assert_eq!(
            staged(a.2, true, &run(sa)).cmp(&staged(b.2, true, &run(sa))),
            a.2.cmp(&b.2)
        );
    }

    #[test]
    fn a_key_gives_back_what_it_was_made_of(
        time in 0_u64..1 << 48, low in 0_u128..1 << 80, n in any::<u32>(), part in any::<u16>(),
    ) {
        let serial = serial(time, low);
        let job_id = JobId::from_bytes(serial.to_bytes());
        prop_assert_eq!(serial_in(&run(serial)), Some(serial));
        prop_assert_eq!(job_in(&job(job_id)), Some(job_id));
        prop_assert_eq!(chunk_in(&open(serial, n)), Some(n));
        prop_assert_eq!(page_in(&page(serial, n, part)), Some((n, part)));
        prop_assert_eq!(client_in(&presence(ClientNo(n))), Some(ClientNo(n)));
        let inner = page(serial, n, part);
        let staged = staged(n, false, &inner);
        prop_assert_eq!(staged_in(&staged), Some((false, &inner[..])));
    }

    #[test]
    fn reading_any_key_never_panics(key in proptest::collection::vec(any::<u8>(), 0..40)) {
        let _ = (serial_in(&key), job_in(&key), client_in(&key), chunk_in(&key));
        let _ = (page_in(&key), staged_in(&key), show(&key));
    }
}

#[test]
fn a_range_holds_the_removed_jobs_of_its_name_and_no_others() {
    let name = |text: &str| text.parse::<JobName>().unwrap();
    let (lowest, highest) = (JobId::from_bytes([0; 16]), JobId::from_bytes([0xff; 16]));
    let named = removed_named(&name("db"));
    assert!([lowest, highest].iter().all(|id| named.contains(&removed(&name("db"), *id))));
    for other in ["d", "dA", "dc", "db/a", "db-", "db0"] {
        assert!(!named.contains(&removed(&name(other), highest)), "{other}");
    }
    let (one, two) = (Timestamp::from_millis(1), Timestamp::from_millis(2));
    assert!(removed_before(two).contains(&removal(one, highest)));
    assert!(!removed_before(two).contains(&removal(two, lowest)));
    assert!(of_job(MISSED, highest).contains(&missed(highest, u64::MAX)));
    assert!(!of_job(REVISION, highest).contains(&missed(highest, 0)));
}

#[test]
fn a_range_holds_the_keys_of_its_run_and_no_others() {
    let highest = Serial::from_bytes([0xff; 16]);
    let keys = of_run(PAGE, highest);
    assert!(keys.contains(&page(highest, u32::MAX, u16::MAX)));
    assert!(!keys.contains(&result(highest, ClientNo(0), 0)));
    let (one, two) = (serial(1, 0), serial(1, 1));
    assert!(of_run(OPEN, one).contains(&open(one, u32::MAX)));
    assert!(!of_run(OPEN, one).contains(&open(two, 0)));
    assert!(!all_staged().contains(&staging_marker()));
    assert!(all(STAGING).contains(&staging_marker()));
}

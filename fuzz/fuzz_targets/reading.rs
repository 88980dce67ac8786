//! Reads of all kinds, and what each of them has to return.

use mpmc_queue::Error;

use crate::{MANY, Stand};

impl Stand {
    /// Reads up to `limit` messages of up to `max_bytes`.
    pub(crate) fn read(&mut self, who: usize, limit: usize, max_bytes: u64) {
        let (ttl, expires, now) = (self.queue.ttl(), self.queue.expires(), self.queue.now().mono);
        let Some(reader) = self.readers.get_mut(who) else { return };
        let (topics, filters) = (&self.topics, reader.filters.as_ref());
        let (account, receipts) = (&mut reader.account, &mut self.receipts);
        let is_acknowledged = &mut false;
        let mut bytes = 0;
        let result = reader.handle.read_fitting_with(limit, max_bytes, false, |delivery| {
            bytes += u128::from(delivery.size);
            delivery.payload.check(delivery.seq, delivery.size, expires, ttl, now);
            topics.check(delivery.seq, delivery.topic, filters);
            *is_acknowledged = delivery.receipt.is_some();
            receipts.extend(delivery.receipt);
            if delivery.deliveries == 1 {
                account.delivered(delivery.seq);
            }
        });
        match result {
            Ok(count) => {
                assert!(count <= limit && (*is_acknowledged || count <= MANY as usize * 2));
                assert!(count <= 1 || bytes <= max_bytes.into(), "more than fits");
            }
            Err(error) => assert!(matches!(error, Error::Closed | Error::Missed(1..)), "{error:?}"),
        }
        let surplus = self.receipts.len().saturating_sub(MANY as usize);
        self.receipts.drain(..surplus);
    }

    pub(crate) fn read_latest(&mut self, who: usize) {
        let Some(reader) = self.readers.get_mut(who) else { return };
        let account = &mut reader.account;
        let next = self.queue.stats().next_seq;
        let result = reader.handle.read_latest_with(|delivery| account.delivered(delivery.seq));
        match result {
            Ok(_) => assert!(reader.handle.position().is_ok_and(|position| position <= next)),
            Err(error) => assert!(matches!(error, Error::Closed | Error::Missed(1..) | Error::IsMember), "{error:?}"),
        }
    }

    /// Whether a reader is readable tells what a read does: that is what a wait for several readers goes by.
    pub(crate) fn check_readable(&mut self, who: usize) {
        let Some(reader) = self.readers.get_mut(who) else { return };
        let is_readable = reader.handle.is_readable().unwrap();
        let is_before_end = reader.handle.unread().unwrap() > 0;
        match reader.handle.read() {
            Ok(Some(payload)) => {
                assert!(is_readable && is_before_end);
                if reader.group.is_none() {
                    reader.account.delivered(payload.seq);
                }
            }
            Ok(None) => assert!(!is_readable),
            Err(_) => assert!(is_readable),
        }
    }

    pub(crate) fn read_one(&mut self, who: usize) {
        let Some(reader) = self.readers.get_mut(who) else { return };
        // A member of an acknowledging group never settles what it reads here.
        if let Ok(Some(payload)) = reader.handle.read()
            && reader.group.is_none()
        {
            reader.account.delivered(payload.seq);
        }
    }
}

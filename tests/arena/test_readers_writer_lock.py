import threading

from llmdemo.arena.readers_writer_lock import ReadersWriterLock


def shared() -> bool:
    return True


def acquires(lock, held, **how):
    """A thread that acquires `lock`, and sets `held` then."""
    thread = threading.Thread(target=lambda: lock.acquire(**how) and held.set())
    thread.start()
    return thread


def has_waiters(lock, count, limit=5.0):
    """True once `count` threads wait for `lock`; False after `limit` seconds."""
    pause = threading.Event()
    for _ in range(int(limit / 0.005)):
        if len(lock._waiting) == count:
            return True
        pause.wait(0.005)
    return False


def test_shared_holders_hold_it_together_and_an_exclusive_one_waits_for_all_of_them():
    lock, held = ReadersWriterLock(), threading.Event()
    assert lock.acquire(shared) and lock.acquire(shared)
    thread = acquires(lock, held)
    assert has_waiters(lock, 1) and not held.is_set()
    lock.release()
    assert has_waiters(lock, 1) and not held.is_set()
    lock.release()
    thread.join(5)
    assert held.is_set()


def test_a_later_shared_request_does_not_pass_a_waiting_exclusive_one():
    lock, exclusive, later = ReadersWriterLock(), threading.Event(), threading.Event()
    lock.acquire(shared)
    first = acquires(lock, exclusive)
    assert has_waiters(lock, 1)
    second = acquires(lock, later, is_shared=shared)
    assert has_waiters(lock, 2) and lock.would_wait(shared=True) and lock.is_wanted()
    lock.release()
    first.join(5)
    assert exclusive.is_set() and has_waiters(lock, 1) and not later.is_set()
    lock.release()
    second.join(5)
    assert later.is_set() and not lock.is_wanted()


def test_whether_it_is_shared_is_asked_when_its_turn_has_come():
    lock, ready, held = ReadersWriterLock(), threading.Event(), threading.Event()
    lock.acquire()
    thread = acquires(lock, held, is_shared=ready.is_set)
    assert has_waiters(lock, 1)
    ready.set()  # as when the holder has prepared the weights
    lock.release()
    thread.join(5)
    assert held.is_set() and not lock.would_wait(shared=True)


def test_a_cancelled_wait_ends_and_blocks_nobody():
    lock = ReadersWriterLock()
    assert lock.acquire()
    assert lock.acquire(should_stop=lambda: True) is False
    assert not lock.try_acquire()
    lock.release()
    assert lock.try_acquire()


def test_a_with_block_is_exclusive():
    lock = ReadersWriterLock()
    with lock:
        assert lock.would_wait(shared=True)
    assert not lock.would_wait(shared=False)

"""Files: each is whole, its owner's, and where its name says, also on a disk that is full."""

from __future__ import annotations

from protections.protection import FIT, OWNERSHIP, RESUME, Protection

__all__ = ["FILES_PROTECTIONS"]

FILES_PROTECTIONS = (
    # Checkpoints.
    Protection(
        "the digest of a checkpoint",
        "training/checkpoint.py",
        "_unpack",
        "payload[len(MAGIC) : start] != hashlib.sha256(body).digest()",
        "False",
        FIT + "a_torn_checkpoint_gives_way_to_the_previous_one",
        "assert",
    ),
    Protection(
        "the one before",
        "training/checkpoint.py",
        "Checkpoints.load",
        "('current', 'previous')",
        "('current',)",
        RESUME + "a_trial_interrupted_in_every_way_is_bit_for_bit_the_one_left_alone",
        "each time from a later checkpoint",
    ),
    Protection(
        "another configuration's is not used",
        "training/checkpoint.py",
        "Checkpoints.load",
        "header.get('key') == self._key",
        "True",
        "unit/training/test_training_resume.py::test_a_checkpoint_of_another_job_is_not_used",
        "assert",
    ),
    Protection(
        "written beside and renamed",
        "atomic_file.py",
        "AtomicFile.__init__",
        "path.with_name(...)",
        "path",
        "system/test_atomic_file.py::test_a_process_killed_in_the_middle_leaves_the_old_file",
        "half of the new",
    ),
    # Disk full.
    Protection(
        "the refusal being taken",
        "training/checkpoint.py",
        "Checkpoints.save",
        "OSError",
        "ZeroDivisionError",
        RESUME + "a_full_disk_is_said_and_costs_no_result",
        "File too large",
    ),
    Protection(
        "room running out",
        "training/checkpoint.py",
        "Checkpoints.save",
        "OSError",
        "ZeroDivisionError",
        RESUME + "a_file_system_without_room_is_said_and_costs_no_result",
        "No space left on device",
    ),
    # A folder of somebody else's.
    Protection(
        "a home of one's own",
        "storage/embedded/embedded.py",
        "_exclusive",
        "check_home(home)",
        "pass",
        OWNERSHIP + "an_ordinary_user_starts_no_server_in_a_home_of_somebody_elses",
        "belongs to account 10001",
    ),
    Protection(
        "root in a home of one's own",
        "settings.py",
        "Settings.read",
        "check_home(home)",
        "pass",
        OWNERSHIP + "a_link_of_somebody_elses_is_no_home",
        "DID NOT RAISE",
    ),
    Protection(
        "no link for the log",
        "ownership.py",
        "open_no_link",
        "found.st_nlink != 1",
        "False",
        OWNERSHIP + "a_file_with_two_names_or_no_file_is_not_opened",
        "DID NOT RAISE",
    ),
    Protection(
        "a library of one's own",
        "training/kernels/machine_cache.py",
        "_is_ours",
        "is_trusted(step)",
        "True",
        "unit/training/test_machine_cache.py::test_a_library_that_somebody_else_compiled_is_not_loaded",
        "AssertionError",
    ),
    Protection(
        "no link below the checkpoints",
        "ownership.py",
        "links_below",
        "step.is_symlink()",
        "False",
        "unit/training/test_planted_links.py::test_nothing_is_written_or_removed_where_a_planted_link_leads",
        "assert",
    ),
)

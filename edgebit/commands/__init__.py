"""The subcommands of `edgebit`, one file each: arguments, one call of the library, what the person sees."""

package sparknomad;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.util.Locale;
import org.apache.hadoop.fs.FileAlreadyExistsException;
import org.apache.hadoop.security.AccessControlException;

/** Tells kinds of failures apart, by what the connectors throw. */
final class Failures {
  static final String CHANGED = "changed";
  static final String MISSING = "missing";
  static final String DENIED = "denied";
  static final String FULL = "full";
  static final String NAME = "name";
  static final String OTHER = "unreachable";

  private Failures() {}

  /** An object is not what the listing said. */
  static final class ChangedException extends IOException {
    private static final long serialVersionUID = 1L;

    ChangedException(String message) {
      super(message);
    }
  }

  static String kind(Throwable error) {
    for (Throwable each = error; each != null; each = each.getCause()) {
      String found = one(each);
      if (!found.isEmpty()) {
        return found;
      }
    }
    return OTHER;
  }

  private static String one(Throwable error) {
    String type = error.getClass().getSimpleName();
    String text = String.valueOf(error.getMessage()).toLowerCase(Locale.ROOT);
    if (error instanceof ChangedException || type.equals("RemoteFileChangedException")) {
      return CHANGED;
    }
    if (text.contains("precondition failed") || text.contains("conditionnotmet")) {
      return CHANGED;
    }
    if (type.contains("TooLong") || text.contains("toolong") || text.contains("too long")) {
      return NAME;
    }
    if (text.contains("no space left") || text.contains("resources are low on nn")
        || text.contains("could only be written to 0 of the")
            && !text.contains("there are 0 datanode")
        || type.contains("QuotaExceeded") || text.contains("not enough space")) {
      return FULL;
    }
    if (error instanceof FileNotFoundException || type.startsWith("UnknownStore")) {
      return MISSING;
    }
    if (error instanceof AccessControlException
        || error instanceof java.nio.file.AccessDeniedException
        || type.equals("CredentialInitializationException")
        || type.equals("NoAuthWithAWSException")) {
      return DENIED;
    }
    if (error instanceof IllegalArgumentException || type.startsWith("InvalidPath")
        || error instanceof FileAlreadyExistsException) {
      return NAME;
    }
    return "";
  }

  /** Whether the same could work a moment later. */
  static boolean isTransient(Throwable error) {
    return kind(error).equals(OTHER);
  }

  static String explain(Throwable error) {
    Throwable deepest = error;
    while (deepest.getCause() != null && deepest.getCause() != deepest) {
      deepest = deepest.getCause();
    }
    String outer = firstLine(error);
    String inner = firstLine(deepest);
    return outer.contains(inner) ? outer : outer + " (" + inner + ")";
  }

  private static String firstLine(Throwable error) {
    String message = error.getMessage() == null ? "" : error.getMessage().strip();
    String line = message.lines().findFirst().orElse("");
    String type = error.getClass().getSimpleName();
    String text = line.isEmpty() ? type : type + ": " + line;
    return text.length() > 400 ? text.substring(0, 400) + "..." : text;
  }
}

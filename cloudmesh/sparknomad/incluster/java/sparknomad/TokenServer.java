package sparknomad;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.HttpURLConnection;
import java.net.InetSocketAddress;
import java.net.Proxy;
import java.net.URL;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.security.AccessControlException;

/** Exchanges a signed statement for an access token; see RFC 7523. */
final class TokenServer {
  private static final String GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer";
  private static final int ATTEMPTS = 4;
  private static final int TIMEOUT_MS = 20_000;
  private static final int TOO_MANY = 429;
  private static final ObjectMapper JSON = new ObjectMapper();

  private final String address;
  private final Proxy proxy;

  /** As the connector reaches Google through a proxy, so is this server. */
  TokenServer(String address, Configuration conf) {
    this.address = address;
    String told = conf.get("fs.gs.proxy.address", "").replaceFirst("^[a-z]+://", "");
    int colon = told.lastIndexOf(':');
    this.proxy = colon < 0 ? null : new Proxy(
        Proxy.Type.HTTP,
        new InetSocketAddress(told.substring(0, colon), Integer.parseInt(told.substring(colon + 1))));
  }

  /**
   * Asks for a token, some times if the server or the way to it is disturbed.
   *
   * @throws AccessControlException if the server refuses
   * @throws IOException if it does not answer
   */
  JsonNode exchange(String statement) throws IOException {
    long pause = 500;
    for (int attempt = 1; ; attempt++) {
      try {
        return once(statement);
      } catch (AccessControlException refused) {
        throw refused;
      } catch (IOException error) {
        if (attempt >= ATTEMPTS) {
          throw new IOException(
              "no access token from " + address + ": " + Failures.explain(error), error);
        }
      }
      try {
        Thread.sleep(pause);
      } catch (InterruptedException interrupted) {
        Thread.currentThread().interrupt();
        throw new IOException(interrupted);
      }
      pause *= 2;
    }
  }

  private JsonNode once(String statement) throws IOException {
    URL url = new URL(address);
    HttpURLConnection connection =
        (HttpURLConnection) (proxy == null ? url.openConnection() : url.openConnection(proxy));
    connection.setConnectTimeout(TIMEOUT_MS);
    connection.setReadTimeout(TIMEOUT_MS);
    connection.setInstanceFollowRedirects(false);
    connection.setDoOutput(true);
    byte[] form = ("grant_type=" + encode(GRANT) + "&assertion=" + encode(statement))
        .getBytes(StandardCharsets.US_ASCII);
    try (OutputStream body = connection.getOutputStream()) {
      body.write(form);
    }
    int status = connection.getResponseCode();
    InputStream told = status < 400 ? connection.getInputStream() : connection.getErrorStream();
    try (InputStream stream = told == null ? InputStream.nullInputStream() : told) {
      JsonNode answer = parse(stream.readAllBytes());
      if (status == 200) {
        return answer;
      }
      String reason = (answer.path("error").asText() + " "
          + answer.path("error_description").asText()).strip();
      String text = address + " gave no access token: status " + status
          + (reason.isEmpty() ? "" : ", " + reason);
      throw status == TOO_MANY || status >= 500
          ? new IOException(text) : new AccessControlException(text);
    }
  }

  private static JsonNode parse(byte[] text) throws IOException {
    try {
      return JSON.readTree(text);
    } catch (JsonProcessingException none) {
      return JSON.createObjectNode();
    }
  }

  private static String encode(String text) {
    return URLEncoder.encode(text, StandardCharsets.US_ASCII);
  }
}

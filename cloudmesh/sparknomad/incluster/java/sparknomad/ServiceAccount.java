package sparknomad;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.google.cloud.hadoop.util.AccessTokenProvider;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.reflect.Constructor;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.Signature;
import java.security.spec.PKCS8EncodedKeySpec;
import java.time.Instant;
import java.util.Base64;
import java.util.Map;
import java.util.TreeMap;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.security.AccessControlException;

/**
 * Lets Google's connector act as a service account whose key is in Hadoop's configuration.
 *
 * <p>The connector itself would want the key as a file on every host. This class signs a statement
 * with the key, and the account's token server gives an access token for it. See
 * https://developers.google.com/identity/protocols/oauth2/service-account
 */
public final class ServiceAccount implements AccessTokenProvider {
  /** Hadoop's key for the content of the service account's key file. */
  static final String KEY = "fs.gs.sparknomad.service.account";

  private static final String SCOPE = "https://www.googleapis.com/auth/devstorage.read_write";
  private static final long STATEMENT_SECONDS = 3600;

  /** What many threads ask for at the same time is asked of the server once. */
  private static final long FRESH_MS = 1000;

  private static final ObjectMapper JSON = new ObjectMapper();
  private static final Base64.Encoder BASE64 = Base64.getUrlEncoder().withoutPadding();

  private Configuration conf;
  private String token = "";
  private Instant expires = Instant.MIN;
  private long obtained;

  @Override
  public void setConf(Configuration values) {
    conf = values;
  }

  @Override
  public Configuration getConf() {
    return conf;
  }

  @Override
  public synchronized AccessToken getAccessToken() {
    try {
      if (!Instant.now().isBefore(expires)) {
        obtain();
      }
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
    return accessToken(token, expires);
  }

  @Override
  public synchronized void refresh() throws IOException {
    if (System.nanoTime() / 1_000_000 - obtained > FRESH_MS || !Instant.now().isBefore(expires)) {
      obtain();
    }
  }

  private void obtain() throws IOException {
    JsonNode key = key();
    String server = field(key, "token_uri");
    Instant now = Instant.now();
    JsonNode answer = new TokenServer(server, conf).exchange(statement(key, server, now));
    String told = answer.path("access_token").asText();
    if (told.isEmpty()) {
      throw new AccessControlException(server + " gave no access token");
    }
    token = told;
    expires = now.plusSeconds(answer.path("expires_in").asLong(STATEMENT_SECONDS));
    obtained = System.nanoTime() / 1_000_000;
  }

  private JsonNode key() throws IOException {
    char[] text = conf.getPassword(KEY);
    if (text == null) {
      throw new AccessControlException("no key of a service account in " + KEY);
    }
    try {
      return JSON.readTree(new String(text));
    } catch (JsonProcessingException error) {
      // Its message would show a part of the key.
      throw new AccessControlException("what is in " + KEY + " is no JSON");
    }
  }

  private static String field(JsonNode key, String name) throws IOException {
    String value = key.path(name).asText();
    if (value.isEmpty()) {
      throw new AccessControlException("the key of the service account has no " + name);
    }
    return value;
  }

  /** A signed JWT: who asks, for what, of whom, and until when. */
  private static String statement(JsonNode key, String server, Instant now) throws IOException {
    long issued = now.getEpochSecond();
    Map<String, Object> header = new TreeMap<>(Map.of("alg", "RS256", "typ", "JWT"));
    if (key.hasNonNull("private_key_id")) {
      header.put("kid", key.path("private_key_id").asText());
    }
    Map<String, Object> claims = Map.of(
        "iss", field(key, "client_email"), "scope", SCOPE, "aud", server,
        "iat", issued, "exp", issued + STATEMENT_SECONDS);
    String signed = part(header) + "." + part(claims);
    try {
      Signature signature = Signature.getInstance("SHA256withRSA");
      signature.initSign(privateKey(field(key, "private_key")));
      signature.update(signed.getBytes(StandardCharsets.US_ASCII));
      return signed + "." + BASE64.encodeToString(signature.sign());
    } catch (GeneralSecurityException | IllegalArgumentException error) {
      // Not as the cause: who knows what of the key its message shows.
      throw new AccessControlException("the private_key of the service account is no RSA key");
    }
  }

  private static String part(Map<String, Object> values) throws IOException {
    return BASE64.encodeToString(JSON.writeValueAsBytes(values));
  }

  private static PrivateKey privateKey(String pem) throws GeneralSecurityException {
    String body = pem.replaceAll("-----[A-Z ]+-----", "").replaceAll("\\s", "");
    byte[] encoded = Base64.getDecoder().decode(body);
    return KeyFactory.getInstance("RSA").generatePrivate(new PKCS8EncodedKeySpec(encoded));
  }

  /** Version 4 of the connector wants the time as an Instant, version 2 as milliseconds. */
  private static AccessToken accessToken(String token, Instant expires) {
    try {
      for (Constructor<?> each : AccessToken.class.getConstructors()) {
        Class<?>[] types = each.getParameterTypes();
        if (types.length == 2) {
          Object time = types[1] == Instant.class ? expires : (Object) expires.toEpochMilli();
          return (AccessToken) each.newInstance(token, time);
        }
      }
    } catch (ReflectiveOperationException error) {
      throw new IllegalStateException(error);
    }
    throw new IllegalStateException("Google's connector takes access tokens in an unknown way");
  }
}
